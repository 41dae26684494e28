// The question box of widgets_ask.py. A question travels inside the message that asks it, so it is never that of a moment before.

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const words = model.get("words");
  const id = `workbench-ask-${Math.random().toString(36).slice(2)}`;
  const box = make("textarea", { id, rows: 2, value: model.get("question"), placeholder: words.hint });
  const examples = make("select", { id: `${id}-examples` }, make("option", { value: "", textContent: words.choose }),
    ...model.get("examples").map(text => make("option", { textContent: text })));
  const ask = make("button", { type: "submit", className: "main", textContent: words.ask });
  const stop = make("button", { type: "button", textContent: words.stop, disabled: true });
  const status = make("p", { className: "status" });
  status.setAttribute("role", "status");
  const clock = make("p", { className: "clock" }); // outside the status: a screen reader would read out every second
  clock.setAttribute("aria-hidden", "true");
  const form = make("form", { className: "workbench-form" },
    make("label", { htmlFor: id, textContent: words.question }), box,
    make("div", { className: "line" }, ask, stop, make("label", { htmlFor: examples.id, textContent: words.examples }), examples),
    make("div", { className: "line" }, status, clock));
  for (const each of form.elements) each.dataset.lmSuppressShortcuts = "true"; // keys belong to what has the focus, not to JupyterLab
  let ticking = 0;

  function showBusy() {
    const busy = model.get("busy"), start = performance.now();
    stop.disabled = !busy;
    form.classList.toggle("busy", busy);
    clearInterval(ticking);
    const tick = () => { clock.textContent = words.seconds.replace("{count}", Math.floor((performance.now() - start) / 1000)); };
    if (busy) {
      ticking = setInterval(tick, 1000);
      tick();
    } else {
      clock.textContent = "";
      if (document.activeElement === document.body) box.focus({ preventScroll: true }); // the button that had the focus is disabled now
    }
  }

  function showStatus() {
    status.textContent = model.get("status");
  }

  function submit(event) {
    event.preventDefault();
    if (model.get("busy")) status.textContent = words.busy;
    else model.send({ ask: box.value });
  }

  function gone() {
    clearInterval(ticking);
    ask.disabled = stop.disabled = true;
    clock.textContent = "";
    status.textContent = words.gone;
  }

  form.addEventListener("submit", submit);
  box.addEventListener("keydown", event => {
    const composing = event.isComposing || event.keyCode === 229; // this Enter ends a syllable of Hangul; Safari tells it by the code only
    if (event.key === "Enter" && !event.shiftKey && !composing) submit(event);
  });
  examples.addEventListener("change", () => {
    if (examples.value) box.value = examples.value;
    examples.value = "";
    box.focus();
  });
  stop.addEventListener("click", () => {
    status.textContent = words.stopping;
    model.send({ stop: true });
  });
  model.on("change:busy", showBusy);
  model.on("change:status", showStatus);
  model.on("comm_live_update", gone);
  showStatus();
  showBusy();
  el.append(form);
  return () => {
    clearInterval(ticking);
    model.off("change:busy", showBusy);
    model.off("change:status", showStatus);
    model.off("comm_live_update", gone);
  };
}

export default { render };
