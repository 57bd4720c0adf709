// sharp, used as its documentation tells: from the file to a buffer. Speaks the lines that worker.py describes.
// worker_sharp.js AVIF_SPEED one-core|all-cores

import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import sharp from "sharp";

const effort = 9 - Number(process.argv[2]); // libvips counts the other way
const allCores = process.argv[3] === "all-cores";
const threads = sharp.concurrency();
sharp.cache(false); // each picture is new to a server
if (!allCores) sharp.concurrency(1);

const encoders = {
  jpeg: (image, quality) => image.jpeg({ quality }),
  png: (image) => image.png(),
  webp: (image, quality) => image.webp({ quality }),
  avif: (image, quality) => image.avif({ quality, effort, chromaSubsampling: "4:2:0" }), // as the engine
  gif: (image) => image.gif(),
};

const one = (row, width) =>
  encoders[row.format](
    sharp(row.path, { autoOrient: true, animated: row.source === "gif" }).resize(width, null, { withoutEnlargement: true }),
    row.quality,
  ).toBuffer();

const results = (row) => Promise.all(row.widths.map((width) => one(row, width)));

async function render({ row, times }) {
  let bytes = 0;
  const began = performance.now();
  const before = process.cpuUsage();
  for (let run = 0; run < times; run++) {
    bytes = (await results(row)).reduce((sum, data) => sum + data.length, 0);
  }
  const { user, system } = process.cpuUsage(before);
  return { cpu_ms: (user + system) / 1000 / times, wall_ms: (performance.now() - began) / times, bytes };
}

async function flood({ row, seconds }) {
  let images = 0;
  const began = performance.now();
  const passed = () => (performance.now() - began) / 1000;
  const follow = async () => {
    while (passed() < seconds) {
      await results(row);
      images++;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, follow));
  return { images, seconds: passed() };
}

async function save({ row, folder }) {
  const files = row.widths.map((_, number) => `${folder}/sharp-${row.name}-${number}.${row.format}`);
  const data = await results(row);
  await Promise.all(files.map((file, number) => writeFile(file, data[number])));
  return { files };
}

const versions = () => ({
  versions: {
    sharp: sharp.versions.sharp,
    libvips: sharp.versions.vips,
    node: process.versions.node,
    "concurrency by default": String(threads),
  },
});

const doers = { versions, render, flood, save };

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    answer = await doers[asked.do](asked);
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
