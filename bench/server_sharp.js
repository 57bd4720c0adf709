// A minimal server: the body is a picture, the answer is that picture ?width= pixels wide. Nothing is kept or bounded.
import { createServer } from "node:http";
import sharp from "sharp";

createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const width = Number(new URL(request.url, "http://localhost").searchParams.get("width"));
  try {
    const picture = sharp(Buffer.concat(parts), { autoOrient: true }).resize(width, null, { withoutEnlargement: true });
    response.writeHead(200, { "Content-Type": "image/jpeg" }).end(await picture.jpeg({ quality: 80 }).toBuffer());
  } catch (error) {
    response.writeHead(422).end(String(error));
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
