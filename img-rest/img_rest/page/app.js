// The page for people. What comes from outside reaches the document as text, never as HTML.

const $ = (id) => document.getElementById(id);
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const sum = (list, value) => list.reduce((all, one) => all + value(one), 0);
const token = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

function make(tag, properties, ...children) {
	const element = Object.assign(document.createElement(tag), properties);
	element.append(...children);
	return element;
}

function size(bytes) {
	let unit = 0;
	for (; bytes >= 999.5; unit++) bytes /= 1000;
	return `${bytes.toFixed(unit && bytes < 9.95 ? 1 : 0)} ${["B", "KB", "MB", "GB", "TB"][unit]}`;
}

function saved(before, after) {
	const percent = Math.round(100 * (after / before - 1));
	return `${size(before)} → ${size(after)}, ${percent > 0 ? "+" : "−"}${Math.abs(percent)} %`;
}

// ── The service, and patience with it ──

let key = sessionStorage.imgKey ?? "";
let limits, away;
let locked = false; // until another key is given
let held = 0; // refusals after which nothing is sent for some seconds

const notice = (text) => ($("notice").textContent = text);

/** Have all requests wait for a service that does not answer; resolves to whether it was away. */
const lost = () => (away ??= recover());

async function recover() {
	const alive = () => fetch("health", { signal: AbortSignal.timeout(9000) }).then((answer) => answer.ok, () => false);
	let seconds = 1;
	for (; !(await alive()); seconds = Math.min(2 * seconds, 8)) {
		notice(`The service does not answer. Nothing is lost; next try in ${seconds} s.`);
		await pause(seconds);
	}
	away = null;
	notice("");
	pump();
	return seconds > 1;
}

async function hold(seconds, reason) {
	held++;
	notice(`${reason}. Uploads go on in ${seconds} s.`);
	await pause(seconds);
	if (!--held && !away) notice("");
	pump();
}

function lock() {
	locked = true;
	$("access").hidden = false;
	$("access-said").textContent = key ? "This key is not accepted." : "This service asks for a key.";
	$("key").focus();
}

async function call(path, options) {
	const headers = key ? { "X-API-Key": key } : {};
	const answer = await fetch(path, { ...options, headers }).catch(async (error) => {
		if (error.name !== "AbortError") await lost();
		throw error;
	});
	if (answer.status === 401) lock();
	else if ([502, 504].includes(answer.status)) lost();
	else return answer;
	throw new Error(answer.status);
}

const json = async (path) => (await call(path)).json();

/** Send a row's picture; resolves to status and body of the answer, and the seconds until it may be tried again. */
function post(row) {
	return new Promise((done, fail) => {
		const request = new XMLHttpRequest();
		const form = new FormData();
		for (const [name, value] of Object.entries(row.parameters)) form.append(name, value);
		form.append("file", row.file);
		request.open("POST", "resize");
		request.setRequestHeader("Idempotency-Key", row.token);
		if (key) request.setRequestHeader("X-API-Key", key);
		request.upload.onprogress = ({ loaded, total }) => update(row, { sent: loaded / total });
		request.onerror = request.onabort = fail;
		request.onload = () => {
			let body = { title: `The service answered ${request.status}` };
			try {
				body = JSON.parse(request.responseText);
			} catch {} // a proxy's own page
			done([request.status, body, Number(request.getResponseHeader("Retry-After")) || 2]);
		};
		row.stop.signal.onabort = () => request.abort();
		request.send(form);
	});
}

// ── Settings: made from the service's own document, five in a line, the others under More ──

const LINE = ["width", "height", "fit", "format", "quality"];
const TYPES = { boolean: "checkbox", file: "file", integer: "number", number: "number" };
const settings = $("settings");
const defaults = {};
let faulty = false; // parameters that were refused are not sent again

function addField({ name, in: place, type, enum: values, default: usual = "", description }) {
	if (place !== "formData" || name === "file") return;
	defaults[name] = String(usual);
	const options = [...(usual === "" ? [""] : []), ...(values ?? [])].map(String);
	const field = values
		? make("select", { name }, ...options.map((value) => new Option(value || "default", value)))
		: make("input", { name, type: TYPES[type] ?? "text", placeholder: usual === "" ? "auto" : usual, step: "any" });
	if (values || type === "boolean") field.value = values ? usual : "true";
	const hint = make("small", { id: `hint-${name}` }, description);
	field.setAttribute("aria-describedby", hint.id);
	const label = make("label", {}, (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " "), field);
	$(LINE.includes(name) ? "line" : "fields").append(make("div", {}, label, hint));
}

/** Return what differs from the defaults, by name: texts, and the file of a watermark. */
function parameters() {
	const given = [...new FormData(settings)];
	return Object.fromEntries(given.filter(([name, value]) => value && value.name !== "" && value !== defaults[name]));
}

function fault(errors) {
	faulty = errors.length > 0;
	$("fault").textContent = errors.map((error) => error.detail).join("; ");
	for (const field of settings.elements) field.ariaInvalid = errors.some((error) => error.parameter === field.name);
}

let settling;
settings.oninput = () => {
	clearTimeout(settling);
	settling = setTimeout(() => {
		fault([]);
		rows.filter((row) => row.file && !row.fixed && row.state !== "waiting").forEach(ask);
		pump();
	}, 300);
};
settings.onsubmit = (event) => event.preventDefault();

// ── Rows: a picture each ──

const rows = [];
const ENDED = ["done", "failed", "cancelled"];
const BOOK = `img ${location.pathname}`; // the jobs to come back to after a reload
const book = () => JSON.parse(localStorage[BOOK] ?? "[]");
const widest = ({ status }) => status.outputs.toSorted((one, other) => other.width - one.width)[0];
const fetched = async (row, output) => (await call(address(row, output))).blob();

function note(id, ...more) {
	localStorage[BOOK] = JSON.stringify([...more, ...book().filter((job) => job.id !== id)].slice(0, 500));
}

function address({ id, status }, { name } = widest({ status })) {
	return new URL(`resize/${id}${status.outputs[1] ? `/${encodeURIComponent(name)}` : ""}`, document.baseURI).href;
}

function addRow(given) {
	const element = $("row").content.firstElementChild.cloneNode(true);
	const at = Object.fromEntries([...element.querySelectorAll("[class]")].map((part) => [part.classList[0], part]));
	const row = { turn: 0, seen: 0, tries: 0, parameters: {}, state: "waiting", token: token(), element, at, ...given };
	at.name.textContent = row.name;
	at.sent.ariaLabel = `Upload of ${row.name}`;
	for (const act of element.querySelectorAll(".act")) act.ariaLabel = `${act.title}: ${row.name}`;
	at.open.onclick = () => toggle(row);
	at.get.onclick = (event) => save(event, row);
	at.copy.onclick = () => copy(address(row), (row.copied = row.id));
	at.again.onclick = () => (ask(row), pump());
	at.delete.onclick = () => (stop(row, true), drop(row));
	at.image.onload = () => at.thumb.classList.add("seen");
	if (row.file) at.image.src = URL.createObjectURL(row.file);
	rows.push(row);
	update(row);
	return element;
}

function update(row, changes) {
	const { at, state, sent = 0, status, file } = Object.assign(row, changes);
	const before = status?.position == null ? "" : ` (${status.position} before you)`;
	row.element.className = state;
	at.state.textContent = state + ({ uploading: ` ${Math.round(100 * sent)} %`, queued: before }[state] ?? "");
	at.facts.replaceChildren(...facts(row));
	at.sent.hidden = state !== "uploading";
	at.sent.value = sent;
	at.get.hidden = at.copy.hidden = state !== "done";
	at.again.hidden = !file || (state !== "failed" && state !== "cancelled");
	if (state === "done") Object.assign(at.get, { href: address(row), download: "" });
}

function facts({ state, status, problem, bytes }) {
	if (problem) return [[problem.title, problem.detail].filter(Boolean).join(": ")];
	if (state !== "done") return [bytes ? size(bytes) : "…"];
	const { outputs, started_at: start, finished_at: end } = status;
	const made = sum(outputs, (output) => output.bytes);
	const what = outputs[1] ? `${outputs.length} files` : `${outputs[0].width} × ${outputs[0].height}`;
	const seconds = ((new Date(end) - new Date(start)) / 1000).toFixed(2);
	const [sizes, percent] = saved(bytes, made).split(", ");
	return [`${sizes}, `, make("b", {}, percent), ` · ${what} · ${seconds} s`];
}

function ask(row) {
	stop(row, row.copied !== row.id);
	update(row, { state: "waiting", id: "", tries: 0, problem: null, after: null, token: token() });
}

function stop(row, gone) {
	row.turn++;
	row.stop?.abort();
	note(row.id);
	if (row.id && gone) call(`resize/${row.id}`, { method: "DELETE" }).catch(() => {});
}

function drop(row) {
	const { id, element } = row;
	note(id);
	rows.splice(rows.indexOf(row), 1);
	const next = element.nextElementSibling ?? element.previousElementSibling;
	if (element.contains(document.activeElement)) (next?.querySelector(".delete") ?? $("choose")).focus();
	element.remove();
	pump();
}

async function end(row, state, problem) {
	update(row, { state, problem });
	row.ended?.(row);
	say(`${row.name}: ${state}`);
	if (!row.at.detail.hidden) detail(row);
	if (state === "done") row.at.image.src = key ? URL.createObjectURL(await fetched(row)) : address(row);
}

let saying;
function say(text) {
	clearTimeout(saying);
	saying = setTimeout(() => ($("live").textContent = `${text}. ${$("sum").textContent}`), 500);
}

// ── Sending and watching: a few at a time, since a browser has six connections ──

let sending = 0;
let watching = 0;

function pump() {
	summarize();
	if (!limits || away || locked) return;
	const waits = rows.filter((row) => row.state === "waiting" && (!faulty || row.fixed));
	while (sending < Math.min(3, limits.uploads) && !held && waits.length) send(waits.shift());
	const open = rows.filter((row) => row.id && !ENDED.includes(row.state));
	const free = open.filter((row) => !row.watched).sort((one, other) => one.seen - other.seen);
	while (watching < 2 && free.length) watch(free.shift(), open.length > 2);
}

async function send(row) {
	const { turn } = row;
	sending++;
	update(row, { state: "uploading", sent: 0, parameters: row.fixed ?? parameters(), stop: new AbortController() });
	try {
		const large = row.bytes > limits.upload_bytes && `At most ${size(limits.upload_bytes)} are accepted`;
		const [status, body, after] = large ? [413, { title: large }] : await post(row);
		if (turn !== row.turn) return;
		update(row, { state: "waiting" });
		if (body.id) {
			update(row, { id: body.id, state: body.status, status: null });
			note(row.id, { id: row.id, name: row.name, parameters: row.parameters });
		} else if (status === 401) lock();
		else if ([409, 429, 503, 507].includes(status)) hold(after, body.title);
		else if ([502, 504].includes(status)) lost();
		else if (body.errors) fault(body.errors);
		else end(row, "failed", body);
	} catch {
		if (turn !== row.turn) return;
		update(row, { state: "waiting" });
		if (await lost()) return;
		if (turn === row.turn && ++row.tries > 2) end(row, "failed", { title: "The connection broke off three times" });
	} finally {
		sending--;
		pump();
	}
}

async function watch(row, others) {
	const { turn } = row;
	watching++;
	row.watched = true;
	try {
		const seconds = Math.min(limits.wait_seconds, others || row.state === "queued" ? 1 : 30);
		const answer = await call(`resize/status/${row.id}?wait=${seconds}`, { signal: row.stop?.signal });
		const status = await answer.json();
		if (turn !== row.turn) return;
		row.seen = performance.now();
		if (answer.ok) {
			update(row, { status, state: status.status, bytes: status.source?.bytes });
			if (ENDED.includes(row.state)) end(row, row.state, status.error);
		} else if (![404, 410].includes(answer.status)) await pause(2);
		else if (row.file) end(row, "failed", status);
		else drop(row);
	} catch {
		await pause(1);
	} finally {
		watching--;
		row.watched = false;
		pump();
	}
}

function summarize() {
	const mine = rows.filter((row) => row.list === "rows");
	const done = mine.filter((row) => row.state === "done");
	const failed = mine.filter((row) => row.state === "failed").length;
	const before = sum(done, (row) => row.bytes);
	const after = sum(done, (row) => sum(row.status.outputs, (output) => output.bytes));
	const parts = [`${done.length} of ${mine.length} done`, failed && `${failed} failed`, before && saved(before, after)];
	$("sum").textContent = parts.filter(Boolean).join(" · ");
	$("now").hidden = !mine.length;
	$("earlier").hidden = !rows.some((row) => row.list === "recent");
	$("all").hidden = done.length < 2;
}

// ── An opened row: before and after, warnings, the request for programs ──

function toggle(row) {
	const panel = row.at.detail;
	panel.hidden = !panel.hidden;
	row.at.open.ariaExpanded = !panel.hidden;
	if (!panel.hidden) detail(row);
}

function detail(row) {
	const parts = [];
	if (row.state === "done") {
		const { outputs, warnings } = row.status;
		const link = (one) => make("a", { href: address(row, one), download: "", onclick: (event) => save(event, row, one) }, one.name);
		const files = outputs.map((one) => make("li", {}, link(one), ` ${one.width} × ${one.height}, ${size(one.bytes)}`));
		const told = warnings.map((warning) => make("li", {}, warning.detail));
		parts.push(compare(row), make("ul", {}, ...(outputs[1] ? files : []), ...told));
	}
	row.at.detail.replaceChildren(...parts, snippets(row));
}

function compare(row) {
	const { width, height, bytes } = widest(row);
	const box = make("div", { className: "compare" });
	const tag = (side, text) => box.append(make("span", { className: `tag ${side}` }, text));
	const show = async (side, alt, url) => {
		const image = box.appendChild(make("img", { className: side, alt }));
		image.style.objectFit = { cover: "cover", contain: "contain" }[row.parameters.fit] ?? "fill";
		image.src = await url.catch(() => tag("middle", "This picture cannot be shown here") ?? "");
	};
	box.style.aspectRatio = `${width} / ${height}`;
	box.style.width = `min(100%, ${(70 * width) / height}vh)`;
	show("after", `${row.name}, resized`, (row.after ??= fetched(row).then(shown)));
	if (row.file) {
		show("before", `${row.name}, as it was`, (row.before ??= shown(row.file)));
		const slider = make("input", { type: "range", value: 50, ariaLabel: `Before and after: ${row.name}` });
		slider.oninput = () => box.style.setProperty("--at", `${slider.value}%`);
		box.append(make("span", { className: "handle" }), slider);
		tag("left", `Before, ${size(row.bytes)}`);
	}
	tag("right", `After, ${size(bytes)}`);
	return box;
}

/** Resolve to an address that this browser can show; of what it cannot decode (HEIC, TIFF), the service makes a JPEG. */
async function shown(file) {
	const url = URL.createObjectURL(file);
	return make("img", { src: url }).decode().then(() => url, () => converted(file));
}

async function converted(file) {
	const fixed = { width: "100%", format: "jpeg" };
	const row = await new Promise((ended) => (addRow({ file, name: "preview", bytes: file.size, fixed, ended }), pump()));
	const url = row.state === "done" && URL.createObjectURL(await fetched(row));
	stop(row, true);
	drop(row);
	return url || Promise.reject();
}

const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
const upload = (name) => (/[;,"\\]/.test(name) ? JSON.stringify(name) : name);
const python = (text) => (/^(0|[1-9]\d*)(\.\d+)?$/.test(text) ? text : text === "true" ? "True" : JSON.stringify(text));

/** Return the request of a row in several languages; of the parameters only those that are not the default. */
function requests({ name: file, parameters, state, status, ...row }) {
	const text = JSON.stringify;
	const server = new URL("resize", document.baseURI).href;
	const url = `${server}?wait=${Math.min(30, limits.wait_seconds)}`;
	const target = `small.${(status?.outputs?.[0]?.media_type ?? "image/jpeg").slice(6).replace("jpeg", "jpg")}`;
	const given = Object.entries({ file, ...parameters }).map(([name, value]) => ({
		name, value: value.name ?? value, isFile: name === "file" || value.name,
	}));
	const form = given.map(({ name, value, isFile }) => `-F ${shell(`${name}=${isFile ? `@${upload(value)}` : value}`)} \\\n  `);
	const named = given.slice(1).map(({ name, value }) => `, ${name}=${python(value)}`);
	const set = given.map(({ name, value, isFile }) => `form.set("${name}", ${isFile ? `await openAsBlob(${text(value)})` : text(value)});\n`);
	const found = {
		curl: `curl -L ${form.join("")}${key ? '-H "X-API-Key: $IMG_KEY" \\\n  ' : ""}'${url}' -o ${target}`,
		Python: `${key ? "import os\n" : ""}from pathlib import Path

from img_client import Client

with Client("${server.slice(0, -7)}"${key ? ', api_key=os.environ["IMG_KEY"]' : ""}) as client:
    Path("${target}").write_bytes(client.resize(${text(file)}${named.join("")}))`,
		Node: `import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";

const form = new FormData();
${set.join("")}const headers = ${key ? '{ "X-API-Key": process.env.IMG_KEY }' : "{}"};
const answer = await fetch("${url}", { method: "POST", headers, body: form });
if (answer.status !== 200) throw new Error(await answer.text());
await writeFile("${target}", answer.body);`,
	};
	if (state !== "done") return found;
	const sources = status.sources.map(
		(one) => `  <source type="${one.media_type}" srcset="${one.srcset.replace(/\S*\/resize/g, server)}">\n`);
	const { width, height } = widest({ status });
	const img = `  <img src="${address({ status, ...row })}" width="${width}" height="${height}" alt="">\n`;
	return { ...found, "<picture>": `<picture>\n${sources.join("")}${img}</picture>` };
}

function snippets(row) {
	const found = requests(row);
	const code = make("pre", { tabIndex: 0 }, found.curl);
	const group = token();
	const choices = Object.keys(found).map((name) => {
		const onchange = () => (code.textContent = found[name]);
		return make("label", {}, make("input", { type: "radio", name: group, checked: name === "curl", onchange }), name);
	});
	const button = make("button", { type: "button", className: "button", onclick: () => copy(code.textContent) }, "Copy");
	return make("div", {}, make("fieldset", { ariaLabel: "The request as" }, ...choices, button), code);
}

async function copy(text) {
	try {
		await navigator.clipboard.writeText(text);
	} catch { // not on HTTPS
		const area = document.body.appendChild(make("textarea", { value: text }));
		area.select();
		document.execCommand("copy");
		area.remove();
	}
	say("Copied");
}

/** Download with the key, which a link cannot send. */
async function save(event, row, output = widest(row)) {
	if (!key && event) return;
	event?.preventDefault();
	const { width, height, name } = output;
	const download = `${row.name.replace(/\.[^.]*$/, "")}-${width}x${height}${name.slice(name.lastIndexOf("."))}`;
	make("a", { href: URL.createObjectURL(await fetched(row, output)), download }).click();
}

// ── Pictures come in: dropped (folders, too), pasted, chosen, taken ──

function takeIn(files) {
	const seen = [...files].filter((file) => !file.name.startsWith("."));
	$("rows").prepend(...seen.map((file) => addRow({ file, name: file.name, bytes: file.size, list: "rows" })));
	pump();
}

async function filesOf(entry) {
	if (entry.isFile) return new Promise((done, fail) => entry.file(done, fail));
	const reader = entry.createReader();
	const found = [];
	for (let some = [0]; some.length; found.push(...(await Promise.all(some.map(filesOf))).flat())) {
		some = await new Promise((done, fail) => reader.readEntries(done, fail));
	}
	return found;
}

for (const name of ["dragover", "dragleave", "drop"]) {
	document.addEventListener(name, (event) => {
		if (!event.dataTransfer.types.includes("Files")) return;
		event.preventDefault();
		document.body.classList.toggle("over", name === "dragover");
	});
}
document.addEventListener("drop", async ({ dataTransfer: { items, files } }) => {
	const plain = [...files];
	const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
	takeIn(entries.some((entry) => entry.isDirectory) ? (await Promise.all(entries.map(filesOf))).flat() : plain);
});
document.addEventListener("paste", (event) => takeIn(event.clipboardData.files));
for (const [button, input] of [["choose", "files"], ["shoot", "camera"]]) {
	$(button).onclick = () => $(input).click();
	$(input).onchange = () => (takeIn($(input).files), ($(input).value = ""));
}
$("all").onclick = async () => {
	for (const row of rows.filter((row) => row.list === "rows" && row.state === "done")) {
		for (const output of row.status.outputs) await save(null, row, output);
	}
};
onbeforeunload = (event) => rows.some((row) => ["waiting", "uploading"].includes(row.state)) && event.preventDefault();

// ── The strip, recent jobs, the start ──

async function strip() {
	const stats = document.hidden || away || locked ? {} : await json("stats").catch(() => ({}));
	if (stats.engines) {
		const { queued, processing, engines, free_bytes: free } = stats;
		const many = engines[0] ? `${engines.length} engine${engines[1] ? "s" : ""}` : "no engine: pictures wait for one";
		$("strip").textContent = `${queued} waiting · ${processing} running · ${many} · ${size(free)} free`;
		$("strip").className = engines[0] ? "" : "bad";
	}
	setTimeout(strip, 5000);
}

async function recall() {
	const listed = (await json("jobs?limit=30").catch(() => ({}))).jobs ?? [];
	for (const { id, filename, name = filename ?? "picture", parameters = {} } of [...book(), ...listed]) {
		if (rows.some((row) => row.id === id)) continue;
		$("recent").append(addRow({ id, name, parameters, state: "queued", list: "recent" }));
	}
	pump();
}

async function begin() {
	try {
		limits = await json("limits");
		const { paths, securityDefinitions } = await json("swagger.json");
		if (securityDefinitions && !key) lock();
		paths["/resize"].post.parameters.forEach(addField);
		settings.elements.width.value = "800";
		recall();
	} catch {
		await pause(1);
		begin();
	}
}

$("access").onsubmit = (event) => {
	event.preventDefault();
	key = sessionStorage.imgKey = $("key").value;
	locked = false;
	$("access-said").textContent = "";
	recall();
};

begin();
strip();
