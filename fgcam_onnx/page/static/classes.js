/** The classes of an answer: how likely, how they are called, and which one a person means. */

export const TOP = 5;

/** Return shares that add up to 1: softmax of logits, or the scores where they are that already. */
export function probabilities(scores) {
  const total = scores.reduce((a, b) => a + b, 0);
  if (scores.every((s) => s >= 0) && Math.abs(total - 1) < 1e-3) return scores;
  const largest = scores.reduce((a, b) => Math.max(a, b));
  const raised = scores.map((s) => Math.exp(s - largest));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((r) => r / sum);
}

/** The likeliest classes, and of those that are asked about each. */
export function likeliest(shares, ...asked) {
  const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, TOP);
  for (const index of asked) if (index !== null && !order.includes(index)) order.push(index);
  return order;
}

export const percent = (share) =>
  share >= 0.0995 ? `${Math.round(100 * share)} %` : share >= 0.001 ? `${(100 * share).toFixed(1)} %` : "< 0.1 %";

/**
 * Find the class that a person names: by its whole name, its number, or the start or a part of one name alone.
 *
 * @param {string} text
 * @param {string[]} labels
 * @param {number} count of classes
 * @returns {number | null} null where none or several are meant
 */
export function classNamed(text, labels, count) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  const names = labels.map((label) => label.toLowerCase());
  if (names.includes(wanted)) return names.indexOf(wanted);
  const number = /^(class )?(\d+)$/.exec(wanted);
  if (number && Number(number[2]) < count) return Number(number[2]);
  for (const fits of [(n) => n.startsWith(wanted), (n) => n.includes(wanted)]) {
    const found = names.flatMap((name, i) => (fits(name) ? [i] : []));
    if (found.length === 1) return found[0];
  }
  return null;
}

/**
 * Say where the model's answer is not to be relied upon; nothing where it is sure of itself.
 *
 * @param {ArrayLike<number>} shares
 * @param {string} name of the likeliest class
 */
export function doubt(shares, name) {
  const all = [...shares];
  const top = Math.max(...all);
  const entropy = -all.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0) / Math.log(Math.max(2, all.length));
  if (top >= 0.5 && entropy <= 0.5) return "";
  return (
    `The model is unsure: its best of ${all.length} classes is “${name}” with ${percent(top)}. ` +
    "It knows nothing but its classes, and gives one of them to a picture of anything else, too."
  );
}

/** The difference of two explanations of one picture: what speaks for the first class and not for the second. */
export function difference(first, second) {
  const maps = first.maps.map((map, n) => ({ ...map, data: map.data.map((v, i) => v - second.maps[n].data[i]) }));
  return { ...first, maps, milliseconds: first.milliseconds + second.milliseconds };
}
