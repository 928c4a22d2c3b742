// Elements, made of text alone: the page's policy lets no text become markup.

export const $ = (id) => document.getElementById(id);

/** An element. Attributes that are true stand alone, those that are null are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Tell it to whoever listens instead of looking. */
export function say(text) {
  $("status").textContent = text;
}

/** Show a problem beside the form that it is about, or none. */
export function complain(id, problem) {
  const place = $(id);
  place.hidden = problem === null;
  place.textContent = problem === null ? "" : problem.message;
}

/** Run `work` with the form's buttons off, and say beside it what went wrong. */
export async function submitting(form, problemId, work) {
  const buttons = [...form.querySelectorAll("button")];
  complain(problemId, null);
  for (const button of buttons) button.disabled = true;
  try {
    await work();
  } catch (problem) {
    complain(problemId, problem);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

/** Open the reader: a dialog with a title, which closes by itself. */
export function openReader(title, ...content) {
  $("reader-title").textContent = title;
  $("reader-content").replaceChildren(...content);
  $("reader").showModal();
  $("reader-content").scrollTop = 0;
}

/** Milliseconds in words. */
export function duration(milliseconds) {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)} s`;
  if (milliseconds >= 10) return `${Math.round(milliseconds)} ms`;
  if (milliseconds >= 1) return `${milliseconds.toFixed(1)} ms`;
  return `${Math.round(milliseconds * 1000)} µs`;
}
