/** From a file to the pixels that a model takes: turned upright, fitted to its size, transparent parts on white. */

/** Says what is wrong with a picture. */
export class PictureError extends Error {}

/**
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<ImageBitmap>}
 * @throws {PictureError}
 */
export async function decode(blob, name) {
  try {
    return await createImageBitmap(blob, { colorSpaceConversion: "none" });
  } catch {
    throw new PictureError(`${name} is not a picture that this browser can read. JPEG, PNG and WebP are.`);
  }
}

/**
 * Fit a picture as the file's preprocessing says.
 *
 * @param {ImageBitmap} bitmap
 * @param {{width: number, height: number}} size
 * @param {{resize?: "crop" | "stretch" | "pad", crop_share?: number, fill?: number, pad_at?: string} | null} how
 * @returns {{canvas: HTMLCanvasElement, pixels: Uint8Array}} what the model sees: a canvas, and RGB
 */
export function fitted(bitmap, { width, height }, how) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const { resize = "stretch", crop_share = 1, fill = 0, pad_at = "center" } = how ?? {};
  context.imageSmoothingQuality = "high";
  context.fillStyle = resize === "pad" ? `rgb(${fill} ${fill} ${fill})` : "white";
  context.fillRect(0, 0, width, height);
  const fits = bitmap.width === width && bitmap.height === height;
  const ratios = [width / bitmap.width, height / bitmap.height];
  const [sx, sy] =
    resize === "stretch" || fits
      ? ratios
      : Array(2).fill(resize === "crop" ? Math.max(...ratios) / crop_share : Math.min(...ratios));
  const [w, h] = [bitmap.width * sx, bitmap.height * sy];
  const [x, y] = fits ? [0, 0] : resize === "pad" && pad_at === "corner" ? [0, 0] : [(width - w) / 2, (height - h) / 2];
  context.drawImage(bitmap, x, y, w, h);
  const rgba = context.getImageData(0, 0, width, height).data;
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0, o = 0; i < rgba.length; i += 4) {
    pixels[o++] = rgba[i];
    pixels[o++] = rgba[i + 1];
    pixels[o++] = rgba[i + 2];
  }
  return { canvas, pixels };
}
