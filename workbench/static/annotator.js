// Shows documents and says to the kernel what was selected and typed; what a question must have and how it is saved is decided there.
// Places in a text are UTF-16 units. A form is cleared only when the kernel has said that it is saved.

const LATE = 5000; // milliseconds after which a kernel that says nothing counts as lost
const BEAT = 5000; // milliseconds between two looks at the kernel and the file
const TRIPLE = 350; // milliseconds in which a third click selects the line
const CONTROLS = "button, select, input, textarea, [contenteditable]"; // their keys are theirs, not JupyterLab's, which deletes a cell at "d d"

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node && !name.includes("-")) node[name] = value;
    else node.setAttribute(name, value);
  }
  if (node.matches(CONTROLS)) node.dataset.lmSuppressShortcuts = "true";
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const words = model.get("words");
  const say = (key, fields = {}) => words[key].replace(/{(\w+)}/g, (_, name) => fields[name]);
  const button = (key, action, properties = {}) => make("button", { type: "button", textContent: say(key), onclick: action, ...properties });

  // --- what is known --------------------------------------------------------------------------------------------------------------------
  let documents = [], state = { questions: [], counts: {} }, current = null, lines = [], painted = new Set();
  let editing = null, spans = [], sending = false, store = "", kept = null, lastField = null;
  const scrolled = new Map();
  const title = (id) => documents.find((each) => each.id === id)?.title ?? id;

  // --- the page -------------------------------------------------------------------------------------------------------------------------
  const id = `annotator-${Math.random().toString(36).slice(2)}`;
  const lost = make("div", { className: "alert lost", role: "alert", hidden: true, textContent: say("lost") });
  const lostHere = make("div", { className: "alert lost", "aria-hidden": "true", hidden: true, textContent: say("lost") }); // where one types
  const changed = make("div", { className: "alert", role: "alert", hidden: true },
    make("div", { textContent: say("changed") }), button("reload", () => reload()));
  const chosen = make("select", { className: "grow", "aria-label": say("document"), onchange: () => read(chosen.value) });
  const progress = make("progress", { max: 1, "aria-label": say("questions") });
  const counted = make("span", { className: "faint" });
  const pane = make("div", { className: "text", role: "textbox", tabIndex: 0, spellcheck: false, contentEditable: "true",
    "aria-multiline": "true", "aria-readonly": "true", "aria-label": say("text"), "autocorrect": "off", "autocapitalize": "off" });
  const heading = make("h4", { textContent: say("new") });
  const list = make("ol", { "aria-label": say("evidence") });
  const hint = make("div", { className: "faint", textContent: say("no_span") });
  const question = make("textarea", { id: `${id}-question`, rows: 2, placeholder: say("question_hint") });
  const answer = make("textarea", { id: `${id}-answer`, rows: 2, placeholder: say("answer_hint") });
  const unanswerable = make("input", { type: "checkbox", onchange: () => { shade(); keep(); } });
  const wrong = make("div", { className: "alert", role: "alert", hidden: true });
  const save = button("save", () => submit(), { className: "primary" });
  const clear = button("clear", () => { blank(); say_(""); question.focus(); });
  const undo = button("undo", () => back());
  const said = make("div", { className: "said", role: "status" });
  const form = make("div", { role: "group", "aria-label": say("question") }, heading,
    make("div", { className: "label", textContent: say("evidence") }), hint, list,
    make("label", { htmlFor: question.id, textContent: say("question") }), question,
    make("label", { htmlFor: answer.id, textContent: say("answer") }), answer,
    make("label", { className: "check" }, unanswerable, say("unanswerable")), wrong, lostHere,
    make("div", { className: "row" }, save, clear, undo), said);
  const search = make("input", { type: "search", className: "grow", placeholder: say("search"), "aria-label": say("search"), oninput: () => listed() });
  const choice = (label, keys) => make("select", { "aria-label": say(label), onchange: () => listed() },
    ...keys.map((key) => make("option", { value: key, textContent: say(key) })));
  const where = choice("which_document", ["all_documents", "this_document"]);
  const kind = choice("which_kind", ["all_kinds", "answerable", "unanswerable_kind", "doubtful"]);
  const rows = make("ul", { className: "list", "aria-label": say("questions") });
  const others = make("div", { className: "faint" });
  const path = make("div", { className: "faint" });
  const key = (names, text) => make("span", {}, ...names.flatMap((name, at) => (at ? [" ", make("kbd", { textContent: name })] : [make("kbd", { textContent: name })])), ` ${say(text)}`);
  const keys = make("div", { className: "keys", role: "note", "aria-label": say("keys") },
    key(["Shift+←→↑↓", "Enter"], "key_take"), key(["Enter"], "key_answer"), key(["Ctrl+Enter"], "key_save"), key(["Shift+Enter"], "key_line"),
    key(["Alt+↓", "Alt+↑"], "key_documents"), key(["Alt+Shift+↓"], "key_empty"), key(["Alt+U"], "key_unanswerable"), key(["Alt+Z"], "undo"), key(["Esc"], "key_text"));
  const root = make("div", { className: "workbench-annotator" }, lost, changed,
    make("div", { className: "row" }, button("previous", () => step(-1), { textContent: "◀", "aria-label": say("previous"), title: say("previous") }), chosen,
      button("next", () => step(1), { textContent: "▶", "aria-label": say("next"), title: say("next") }), button("next_empty", () => empty())),
    make("div", { className: "row" }, progress, counted),
    make("div", { className: "sides" }, make("div", {}, pane), form), keys,
    make("div", { className: "below" }, make("div", { className: "row" }, make("h4", { textContent: say("questions") }), search, where, kind), rows, others, path));
  el.append(root);

  // --- the kernel -----------------------------------------------------------------------------------------------------------------------
  const waiting = new Map(); // by number: the kernel answers in order, so an answer tells that those before it will not come
  let number = 0;
  function ask(message) {
    const mine = ++number;
    return new Promise((resolve) => {
      waiting.set(mine, { resolve, late: setTimeout(gone, LATE) });
      try { model.send({ ...message, number: `${id}/${mine}` }); } catch (error) { console.warn(error); gone(); }
    });
  }
  const gone = () => { lost.hidden = lostHere.hidden = false; };
  function heard(reply) {
    lost.hidden = lostHere.hidden = true;
    const [view, answered] = reply.number.split("/");
    let missed = false;
    for (const [mine, each] of waiting) {
      clearTimeout(each.late);
      if (view !== id || mine > answered) { each.late = setTimeout(gone, LATE); continue; }
      waiting.delete(mine);
      missed ||= mine < answered;
      each.resolve(mine < answered ? { error: say("missed") } : reply);
    }
    if (missed) ask({ do: "open" });
  }
  function told(reply) { // what every view of this widget takes from a reply, whoever asked
    if (reply.documents) documents = reply.documents;
    if (reply.path && !store) {
      path.textContent = say("file", { path: reply.path });
      store = `workbench-annotator:${reply.path}`;
      kept = JSON.parse(sessionStorage.getItem(store) ?? "null");
    }
    if (reply.state) { state = reply.state; retell(); }
    if ("changed" in reply) changed.hidden = !reply.changed;
  }
  model.on("msg:custom", told);
  model.on("msg:custom", heard);
  const moved = () => setTimeout(() => { if (el.closest(".jupyter-widgets-disconnected")) gone(); else ask({ do: "open" }); }, 0);
  model.on("comm_live_update", moved);
  let beats = 0;
  const beat = setInterval(() => {
    beats += 1; // a kernel that is busy gets few of them
    if (document.visibilityState === "visible" && root.isConnected && (!waiting.size || (!lost.hidden && beats % 6 === 0))) ask({ do: "ping" });
  }, BEAT);

  async function reload() { // the documents may be others now, too
    const reply = await ask({ do: "reload" });
    if (reply.error) return fail(reply.error);
    changed.hidden = wrong.hidden = true;
    question.focus({ preventScroll: true }); // the button that had the focus is hidden now
    const name = current?.id;
    if (current) scrolled.set(name, pane.scrollTop);
    current = null;
    return read((documents.find((each) => each.id === name) ?? documents[0]).id);
  }

  // --- reading --------------------------------------------------------------------------------------------------------------------------
  async function read(name, at = null) {
    if (!name) return;
    if (current?.id !== name) {
      if (current) scrolled.set(current.id, pane.scrollTop);
      const reply = await ask({ do: "read", document: name });
      if (reply.error) return fail(reply.error);
      show(reply.document);
    }
    if (at !== null) pane.scrollTop = Math.max(0, lines[holding(at)].offsetTop - pane.clientHeight / 3);
  }
  function show(page) {
    current = page;
    chosen.value = page.id;
    let start = 0;
    lines = page.text.split("\n").map((text) => {
      const line = make("div", { className: "line" });
      Object.assign(line, { start, end: start + text.length });
      start = line.end + 1;
      fill(line, []);
      return line;
    });
    pane.replaceChildren(...lines);
    painted = new Set();
    paint();
    pane.scrollTop = scrolled.get(page.id) ?? 0;
    if (where.value === "this_document") listed();
    keep();
  }
  function holding(at) { // the line that holds a place
    let low = 0, high = lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lines[middle].start <= at) low = middle; else high = middle - 1;
    }
    return low;
  }
  function fill(line, marks) {
    const text = current.text.slice(line.start, line.end);
    if (!text) return line.replaceChildren(make("br"));
    const edges = new Set([line.start, line.end]);
    for (const mark of marks) for (const edge of [mark.start, mark.end]) if (edge > line.start && edge < line.end) edges.add(edge);
    const places = [...edges].sort((a, b) => a - b);
    const pieces = places.slice(1).map((end, at) => {
      const start = places[at], here = marks.filter((mark) => mark.start < end && start < mark.end);
      const piece = current.text.slice(start, end);
      if (!here.length) return document.createTextNode(piece);
      const node = make("span", { textContent: piece, className: [...new Set(here.map((mark) => mark.kind))].join(" ") });
      const first = here.find((mark) => mark.kind === "draft" && mark.start === start);
      if (first) node.dataset.number = first.name;
      node.title = here.map((mark) => mark.label).join(", ");
      return node;
    });
    line.replaceChildren(...pieces);
  }
  function paint() { // draws only the lines whose marks are or were there
    if (!current) return;
    const marks = state.questions.filter((each) => each.id !== editing).flatMap((each) =>
      each.spans.filter((span) => span.document === current.id).map((span) => ({ ...span, kind: "saved", label: each.id })));
    spans.forEach((span, at) => {
      if (span.document === current.id) marks.push({ ...span, kind: "draft", name: at + 1, label: `${say("evidence")} ${at + 1}` });
    });
    const touched = new Map([...painted].map((line) => [line, []]));
    for (const mark of marks)
      for (let at = holding(mark.start); at < lines.length && lines[at].start < mark.end; at++) {
        if (!touched.has(lines[at])) touched.set(lines[at], []);
        touched.get(lines[at]).push(mark);
      }
    painted = new Set();
    for (const [line, here] of touched) {
      fill(line, here);
      if (here.length) painted.add(line);
    }
  }
  function step(by) {
    const at = documents.findIndex((each) => each.id === current?.id);
    if (documents[at + by]) return read(documents[at + by].id);
  }
  function empty() {
    const at = documents.findIndex((each) => each.id === current?.id);
    const next = [...documents.slice(at + 1), ...documents.slice(0, at + 1)].find((each) => !state.counts[each.id]);
    if (next) return read(next.id);
    say_(say("no_empty"));
  }

  // --- selecting ------------------------------------------------------------------------------------------------------------------------
  function place(node, offset) {
    if (node === pane) return lines[offset]?.start ?? current.text.length;
    const line = (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement).closest(".line");
    const before = document.createRange();
    before.setStart(line, 0);
    before.setEnd(node, offset);
    return Math.min(line.start + before.toString().length, line.end);
  }
  function take() {
    const selection = getSelection();
    if (!current || !selection.rangeCount || selection.isCollapsed) return;
    const range = selection.getRangeAt(0);
    if (!pane.contains(range.startContainer) || !pane.contains(range.endContainer)) return;
    let start = place(range.startContainer, range.startOffset), end = place(range.endContainer, range.endOffset);
    const text = current.text.slice(start, end);
    if (!text.trim()) return;
    start += text.length - text.trimStart().length;
    end -= text.length - text.trimEnd().length;
    selection.removeAllRanges();
    const quote = text.trim();
    if (lastField === answer && !answer.value.trim() && !unanswerable.checked) answer.value = quote.replace(/\s+/g, " ");
    else if (!spans.some((span) => span.document === current.id && span.start === start && span.end === end))
      spans.push({ document: current.id, start, end, text: quote, same: false });
    if (unanswerable.checked) { unanswerable.checked = false; shade(); }
    drawn();
    const field = lastField === answer && question.value.trim() ? answer : question;
    field.focus({ preventScroll: true });
    field.scrollIntoView({ block: "nearest" });
  }
  let pressed = false, clicks = 0;
  const down = (event) => { pressed = event.button === 0; clearTimeout(clicks); };
  const up = (event) => {
    if (!pressed) return;
    pressed = false;
    clicks = setTimeout(take, event.detail > 1 ? TRIPLE : 0);
  };
  pane.addEventListener("mousedown", down);
  document.addEventListener("mouseup", up);
  for (const kind of ["beforeinput", "dragstart", "drop", "cut", "paste"]) pane.addEventListener(kind, (event) => event.preventDefault());
  // an input method cannot be told to write nothing: what it wrote is taken out again
  for (const kind of ["input", "compositionend"]) pane.addEventListener(kind, () => setTimeout(() => { const top = pane.scrollTop; if (current) show(current); pane.scrollTop = top; }, 0));

  // --- the form -------------------------------------------------------------------------------------------------------------------------
  let sheet = 0; // counts the questions that stood in the form one after the other
  let untouched = ""; // the form as an edit began
  const typed = () => JSON.stringify({ ...content(), document: "" });
  const dirty = () => Boolean(question.value.trim() || answer.value.trim() || spans.length) && typed() !== untouched;
  function content() {
    return { name: editing, question: question.value, answers: answer.value, unanswerable: unanswerable.checked, document: current?.id ?? "", spans };
  }
  function keep() { // what is being typed outlives a reload of the page and a new run of the cell
    if (store) sessionStorage.setItem(store, JSON.stringify(content()));
  }
  function blank() {
    Object.assign(question, { value: "" });
    Object.assign(answer, { value: "" });
    unanswerable.checked = false;
    sheet += 1;
    editing = null;
    spans = [];
    lastField = null;
    wrong.hidden = true;
    shade();
    drawn();
  }
  function shade() {
    answer.disabled = unanswerable.checked;
    list.classList.toggle("off", unanswerable.checked);
  }
  function unselect(at) {
    const [gone] = spans.splice(at, 1);
    if (!gone.same && spans[at]) spans[at].same = false; // what said the same takes its place
  }
  function drawn() { // evidence, its marks in the text, and the head of the form
    heading.textContent = editing ? say("editing", { name: editing }) : say("new");
    clear.textContent = say(editing ? "cancel" : "clear");
    hint.hidden = spans.length > 0;
    list.replaceChildren(...spans.map((span, at) => {
      const fields = { number: at + 1 };
      const away = span.document === current?.id ? "" : ` (${title(span.document)})`;
      const parts = [make("b", { textContent: at + 1 }),
        make("button", { type: "button", className: "quote", textContent: span.text + away, title: span.text, "aria-label": `${say("find", fields)}: ${span.text.slice(0, 160)}`,
          onclick: () => read(span.document, span.start) }),
        make("button", { type: "button", className: "remove", textContent: "×", "aria-label": say("remove", fields), title: say("remove", fields),
          onclick: () => { unselect(at); drawn(); question.focus(); } })];
      if (at) {
        const relation = make("select", { "aria-label": say("relation", fields), onchange: () => { span.same = relation.value === "same"; keep(); } },
          ...["needed", "same"].map((name) => make("option", { value: name, textContent: say(name) })));
        relation.value = span.same ? "same" : "needed";
        parts.push(relation);
      }
      return make("li", {}, ...parts);
    }));
    paint();
    keep();
  }
  function say_(text, remarks = []) {
    said.replaceChildren(text, ...remarks.map((remark) => make("div", { className: "warning", textContent: `! ${remark}` })));
  }
  function fail(text) {
    wrong.textContent = text;
    wrong.hidden = false;
  }
  async function submit() {
    if (sending) return;
    const sent = typed(), page = sheet;
    sending = save.disabled = true;
    wrong.hidden = true;
    say_(say("waiting"));
    const reply = await ask({ do: "save", form: structuredClone(content()) });
    sending = save.disabled = false;
    say_("");
    if (reply.error) { if (!reply.changed) { fail(reply.error); question.focus(); } return; }
    if (page === sheet) { // else another question stands there by now
      if (typed() === sent) blank();
      else { editing = reply.saved; drawn(); } // typed on while it was saved
    }
    say_(say("saved", { name: reply.saved }), reply.remarks);
    if (reply.remarks.length) said.append(button("edit", () => edit(reply.saved), { "aria-label": say("edit_name", { name: reply.saved }) }));
    if (form.contains(document.activeElement) || document.activeElement === document.body) question.focus({ preventScroll: true });
  }
  function edit(name) {
    if (editing === name) return question.focus();
    if (dirty()) { say_("", [say("unsaved")]); return question.focus(); }
    const row = state.questions.find((each) => each.id === name);
    if (!row) return;
    sheet += 1;
    editing = name;
    spans = row.spans.map((span) => ({ ...span }));
    question.value = row.question;
    answer.value = row.answers.join("\n");
    unanswerable.checked = row.unanswerable;
    untouched = typed();
    wrong.hidden = true;
    shade();
    say_("");
    drawn();
    listed();
    const first = spans[0];
    read(first ? first.document : row.places[0], first ? first.start : null).then(drawn);
    question.focus();
  }
  async function remove(name) {
    const reply = await ask({ do: "delete", name });
    if (reply.error) return reply.changed || fail(reply.error);
    if (editing === name) { editing = null; drawn(); }
    say_(say("deleted", { name }));
    undo.focus();
  }
  async function back() {
    if (undo.disabled) return;
    const reply = await ask({ do: "undo" });
    if (reply.error) return reply.changed || fail(reply.error);
    say_(say("undone"));
    if (document.activeElement === document.body) question.focus(); // the button may be disabled now
  }

  // --- the list -------------------------------------------------------------------------------------------------------------------------
  function retell() { // after the kernel has said what there is now
    if (editing && !state.questions.some((each) => each.id === editing)) editing = null;
    const options = documents.map((each, at) => make("option", { value: each.id,
      textContent: `${at + 1}/${documents.length} ${each.title} · ${state.counts[each.id] ?? 0}` }));
    chosen.replaceChildren(...options);
    if (current) chosen.value = current.id;
    progress.value = state.share;
    counted.textContent = state.progress;
    undo.textContent = state.undo || say("undo");
    undo.disabled = !state.undo;
    others.textContent = state.others;
    listed();
    drawn();
  }
  function listed() {
    const sought = search.value.trim().normalize("NFC").toLowerCase();
    const shown = state.questions.filter((each) =>
      (where.value === "all_documents" || each.places.includes(current?.id)) &&
      (kind.value === "all_kinds" || (kind.value === "doubtful" ? each.remarks.length > 0 : each.unanswerable === (kind.value === "unanswerable_kind"))) &&
      [each.id, each.question, ...each.answers].join("\n").toLowerCase().includes(sought));
    rows.replaceChildren(...shown.reverse().map((each) => make("li", { className: each.id === editing ? "current" : "" },
      make("div", { className: "asked" }, make("b", { textContent: each.id }), each.question),
      make("div", { className: "buttons" }, button("edit", () => edit(each.id), { "aria-label": say("edit_name", { name: each.id }) }),
        button("delete", () => remove(each.id), { "aria-label": say("delete_name", { name: each.id }) })),
      make("div", { className: "faint", textContent: [each.unanswerable ? say("unanswerable_kind") : each.answers.join(" / "), ...each.places.map(title)].filter(Boolean).join(" · ") }),
      ...each.remarks.map((remark) => make("div", { className: "warning", textContent: `! ${remark}` })))));
    if (!shown.length) rows.append(make("li", { className: "faint", textContent: say(state.questions.length ? "none_such" : "none") }));
  }

  // --- keys -----------------------------------------------------------------------------------------------------------------------------
  root.addEventListener("focusin", (event) => { if (event.target === question || event.target === answer) lastField = event.target; });
  root.addEventListener("input", (event) => { if (event.target === question || event.target === answer) keep(); });
  root.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return; // an input method is at work: its Enter is not ours
    const field = event.target;
    const act = (action) => { event.preventDefault(); event.stopPropagation(); action(); };
    const alt = event.altKey && !event.ctrlKey && !event.metaKey;
    if ((event.key === "Enter" || event.code === "KeyS") && (event.ctrlKey || event.metaKey) && !event.altKey) act(submit); // S: else the browser saves the page
    else if (alt && event.key === "ArrowDown" && field.tagName !== "SELECT") act(() => (event.shiftKey ? empty() : step(1)));
    else if (alt && event.key === "ArrowUp" && field.tagName !== "SELECT") act(() => step(-1));
    else if (alt && event.code === "KeyU") act(() => unanswerable.click());
    else if (alt && event.code === "KeyZ") act(back);
    else if (event.key === "Escape" && field !== pane) act(() => pane.focus({ preventScroll: true }));
    else if (event.key === "Enter" && field === pane) act(take);
    else if (event.key === "Enter" && !event.shiftKey && field === question) act(() => (unanswerable.checked ? submit() : answer.focus()));
    else if (event.key === "Enter" && !event.shiftKey && field === answer) act(submit);
  });

  // --- begin ----------------------------------------------------------------------------------------------------------------------------
  ask({ do: "open" }).then((reply) => {
    if (reply.error) return fail(reply.error);
    const known = new Set(documents.map((each) => each.id));
    if (kept && (kept.question || kept.answers || kept.spans.length)) {
      question.value = kept.question;
      answer.value = kept.answers;
      unanswerable.checked = kept.unanswerable;
      spans = kept.spans.filter((span) => known.has(span.document));
      editing = state.questions.some((each) => each.id === kept.name) ? kept.name : null;
      shade();
    }
    read(known.has(kept?.document) ? kept.document : (documents.find((each) => !state.counts[each.id]) ?? documents[0])?.id).then(drawn);
  });
  return () => {
    clearInterval(beat);
    document.removeEventListener("mouseup", up);
    model.off("msg:custom", told);
    model.off("msg:custom", heard);
    model.off("comm_live_update", moved);
    for (const each of waiting.values()) clearTimeout(each.late);
  };
}

export default { render };
