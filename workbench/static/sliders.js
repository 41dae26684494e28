// Give the sliders beside this widget what ipywidgets leaves out: the name that a screen reader says, and a ring that shows the focus.
const TIMES = 20, PAUSE = 100; // the sliders may be drawn after this is

function nameSliders(root) {
  for (const slider of root.querySelectorAll(".widget-slider")) {
    const name = slider.querySelector(".widget-label")?.textContent;
    for (const part of slider.querySelectorAll(".noUi-handle, .widget-readout")) {
      if (name) part.setAttribute("aria-label", name);
      if (part.matches(".widget-readout")) part.setAttribute("role", "textbox");
    }
  }
}

function render({ el }) {
  let left = TIMES;
  const timer = setInterval(() => {
    el.style.display = "none";
    if (el.isConnected) nameSliders(el.closest(".widget-vbox") ?? el.parentElement);
    if (!--left) clearInterval(timer);
  }, PAUSE);
  return () => clearInterval(timer);
}

export default { render };
