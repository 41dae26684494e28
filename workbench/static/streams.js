// One text that is being written: text is added at its end, so a selection stays and nothing flickers.

function make(tag, className, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), { className, ...properties });
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const words = model.get("words");
  const text = make("pre", "said", { dir: "auto", tabIndex: 0 });
  const state = make("span", "state");
  state.setAttribute("role", "status");
  const name = make("div", "name", { textContent: model.get("name") });
  name.setAttribute("role", "heading");
  name.setAttribute("aria-level", "4");
  const box = make("section", "workbench-stream", {}, name, make("p", "line", {}, state), text);
  box.setAttribute("aria-label", model.get("name"));
  box.dataset.lmSuppressShortcuts = "true"; // keys scroll the text, and do not move through the cells
  text.setAttribute("aria-label", words.text);

  function write() {
    const said = model.get("text"), shown = text.textContent;
    const atEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 24;
    if (said.startsWith(shown) && shown) text.lastChild.appendData(said.slice(shown.length));
    else text.textContent = said;
    if (atEnd) text.scrollTop = text.scrollHeight;
    text.hidden = !said && model.get("state") !== "writing";
  }

  function tell() {
    box.dataset.state = model.get("state");
    text.setAttribute("aria-busy", String(model.get("state") === "writing"));
    state.textContent = model.get("note");
    write();
  }

  function gone() {
    box.dataset.state = "failed";
    state.textContent = words.gone;
  }

  const events = { "change:text": write, "change:state": tell, "change:note": tell, comm_live_update: gone };
  for (const [name, act] of Object.entries(events)) model.on(name, act);
  tell();
  el.append(box);
  return () => {
    for (const [name, act] of Object.entries(events)) model.off(name, act);
  };
}

export default { render };
