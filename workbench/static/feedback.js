// The feedback form of widgets_ask.py: a thumb, a comment and a button; all of it travels in one message.

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const words = model.get("words");
  const name = `workbench-rating-${Math.random().toString(36).slice(2)}`;
  const thumbs = ["up", "down"].map(value => {
    const icon = make("i", { className: `fa fa-thumbs-${value}` });
    icon.setAttribute("aria-hidden", "true");
    return make("label", { className: "thumb" }, make("input", { type: "radio", name, value }), icon, ` ${words[value]}`);
  });
  const comment = make("textarea", { id: `${name}-comment`, rows: 2, maxLength: model.get("longest"), placeholder: words.hint });
  const status = make("p", { className: "status" });
  status.setAttribute("role", "status");
  const keep = make("button", { type: "submit", textContent: words.keep });
  const form = make("form", { className: "workbench-form" },
    make("fieldset", {}, make("legend", { textContent: words.rating }), ...thumbs),
    make("label", { htmlFor: comment.id, textContent: words.comment }), comment,
    make("div", { className: "line" }, keep, status));
  for (const each of form.elements) each.dataset.lmSuppressShortcuts = "true"; // keys belong to what has the focus, not to JupyterLab

  function showForm() {
    form.hidden = !model.get("shown");
    form.reset();
  }

  function showStatus() {
    status.textContent = model.get("status");
  }

  function gone() {
    keep.disabled = true;
    status.textContent = words.gone;
  }

  form.addEventListener("submit", event => {
    event.preventDefault();
    const chosen = form.querySelector("input:checked");
    if (chosen) model.send({ rating: chosen.value, comment: comment.value });
    else status.textContent = words.choose;
  });
  model.on("change:shown", showForm);
  model.on("change:status", showStatus);
  model.on("comm_live_update", gone);
  showStatus();
  showForm();
  el.append(form);
  return () => {
    model.off("change:shown", showForm);
    model.off("change:status", showStatus);
    model.off("comm_live_update", gone);
  };
}

export default { render };
