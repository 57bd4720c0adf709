// The page for people. What comes from outside is shown as text, never as HTML.

const $ = (id) => document.getElementById(id);
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const sum = (list, value) => list.reduce((all, one) => all + value(one), 0);
const view = (blob) => URL.createObjectURL(blob);
const token = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

function make(tag, properties, ...children) {
	const element = Object.assign(document.createElement(tag), properties);
	element.append(...children);
	return element;
}

function size(bytes) {
	let unit = 0;
	for (; bytes >= 999.5; unit++) bytes /= 1000;
	return `${bytes.toFixed(unit && bytes < 9.95)} ${["B", "KB", "MB", "GB", "TB"][unit]}`;
}

function change(before, after) {
	const percent = Math.round(100 * (after / before - 1));
	return `${percent > 0 ? "+" : "−"}${Math.abs(percent)} %`;
}

// --- The service, and patience with it

let away;
let limits = {}; // until the fields are there, too
let key = sessionStorage.imgKey ?? "";
let locked = false; // until a key is given
let held = 0; // what is being waited out

/** Wait for the service; resolves to whether it was away. */
const lost = () => (away ??= recover());

async function recover() {
	let seconds = 1;
	for (; !(await fetch("health", { signal: AbortSignal.timeout(9000) }).catch(() => false)).ok; seconds *= 2) {
		await countdown(Math.min(seconds, 8), "The service does not answer. Nothing is lost; next try");
	}
	away = null;
	pump();
	return seconds > 1;
}

async function countdown(seconds, text) {
	held++;
	say(text);
	for (; seconds > 0; seconds--) {
		$("notice").textContent = `${text} in ${seconds} s.`;
		await pause(1);
	}
	$("notice").textContent = "";
	held--;
	pump();
}

/** Return whether a key is missing, or a proxy finds no service. */
function refused(status) {
	if (status === 401) {
		locked = true;
		$("access").hidden = false;
		$("access-said").textContent = key && "This key is not accepted.";
		$("key").focus();
	} else if (status === 502 || status === 504) lost();
	else return false;
	return true;
}

async function call(path, options) {
	try {
		const answer = await fetch(path, { ...options, headers: key ? { "X-API-Key": key } : {} });
		if (!refused(answer.status)) return answer;
	} catch (error) {
		if (error.name !== "AbortError") await lost();
	}
	throw new Error(path);
}

const json = async (path) => (await call(path)).json();

function post({ parameters, file, token, stop }, progress) {
	return new Promise((done, fail) => {
		const request = new XMLHttpRequest();
		const form = new FormData();
		for (const [name, value] of Object.entries({ ...parameters, file })) form.append(name, value);
		request.open("POST", "resize");
		request.responseType = "json"; // null for a page of a proxy
		request.setRequestHeader("Idempotency-Key", token);
		if (key) request.setRequestHeader("X-API-Key", key);
		request.upload.onprogress = ({ loaded, total }) => progress(loaded / total);
		request.onload = () => done(request);
		request.onerror = request.onabort = fail;
		stop.signal.onabort = () => request.abort();
		request.send(form);
	});
}

// --- Settings, from the service's own document

const settings = $("settings");
const defaults = {};
let faulty = false; // refused parameters are not sent again

function addField({ name, in: place, type, enum: values, default: usual = "", description }) {
	if (place !== "formData" || name === "file") return;
	defaults[name] = `${usual}`;
	if (usual === "") values?.unshift("");
	const field = values
		? make("select", { name }, ...values.map((value) => new Option(value || "default", value)))
		: make("input", { name, type: { boolean: "checkbox", file: "file" }[type] ?? "text", placeholder: usual || "auto" });
	if (type !== "file") field.value = type === "boolean" ? "true" : values ? usual : "";
	const hint = make("small", { id: `hint-${name}` }, description);
	field.setAttribute("aria-describedby", hint.id);
	const line = ["width", "height", "fit", "format", "quality"].includes(name);
	$(line ? "line" : "fields").append(make("div", {}, make("label", {}, name.replaceAll("_", " "), field), hint));
}

/** Return what differs from the defaults. */
function parameters() {
	const given = [...new FormData(settings)];
	return Object.fromEntries(given.filter(([name, value]) => ![defaults[name], ""].includes(value.name ?? value)));
}

function fault(errors) {
	faulty = errors.length > 0;
	$("fault").textContent = errors.map(({ parameter, detail }) => `${parameter}: ${detail}`).join("; ");
	for (const field of settings.elements) field.ariaInvalid = errors.some(({ parameter }) => parameter === field.name);
}

let settling;
settings.oninput = () => {
	clearTimeout(settling);
	settling = setTimeout(() => {
		fault([]);
		for (const row of rows) if (row.file && !row.fixed) ask(row);
		pump();
	}, 300);
};

// --- Rows: a picture each

const rows = [];
const server = new URL("resize", document.baseURI).href;
const ended = ({ state }) => /done|failed|cancelled|deleting/.test(state);
const rank = (one) => "jpeg png gif webp avif tiff".indexOf(one.media_type.slice(6)); // what all browsers show first
const main = ({ status }) => status.outputs.toSorted((a, b) => rank(a) - rank(b) || b.width - a.width)[0];
const fetched = async (row, output) => (await call(address(row, output))).blob();

function address({ id, status }, { name } = main({ status })) {
	return `${server}/${id}${status.outputs[1] ? `/${encodeURIComponent(name)}` : ""}`;
}

const BOOK = `img ${location.pathname}`; // jobs to come back to after a reload
const book = () => JSON.parse(localStorage[BOOK] ?? "[]");

function note(id, ...more) {
	const jobs = [...more, ...book().filter((job) => job.id !== id)].slice(0, 500);
	localStorage[BOOK] = JSON.stringify(jobs, (_, value) => (value instanceof File ? value.name : value));
}

function addRow(given) {
	const element = $("row").content.firstElementChild.cloneNode(true);
	const at = Object.fromEntries([...element.querySelectorAll("[class]")].map((part) => [part.classList[0], part]));
	const row = { seen: 0, parameters: {}, state: "waiting", token: token(), element, at, ...given };
	at.name.textContent = row.name;
	for (const act of element.querySelectorAll(".act")) act.ariaLabel = `${act.title}: ${row.name}`;
	at.open.onclick = () => {
		at.open.ariaExpanded = at.detail.hidden;
		at.detail.hidden = !at.detail.hidden;
		detail(row);
	};
	at.get.onclick = (event) => save(event, row);
	at.copy.onclick = () => copy(address(row), (row.copied = row.id));
	at.again.onclick = () => (ask(row), pump());
	at.delete.onclick = () => remove(row);
	at.image.onload = () => at.thumb.classList.add("seen");
	if (row.file) at.image.src = view(row.file);
	rows.push(row);
	update(row);
	return element;
}

function update(row, changes) {
	const { at, state, sent, status, file } = Object.assign(row, changes);
	const before = status?.position == null ? "" : ` (${status.position} before you)`;
	row.element.className = state;
	at.state.textContent = state + ({ uploading: ` ${Math.round(100 * sent)} %`, queued: before }[state] ?? "");
	at.facts.replaceChildren(...facts(row));
	at.get.hidden = at.copy.hidden = state !== "done";
	at.again.hidden = !file || state === "done" || !ended(row);
	if (state === "done") at.get.href = address(row);
}

function facts({ state, status, problem, bytes }) {
	if (problem) return [problem.title, problem.detail && `: ${problem.detail}`].filter(Boolean);
	if (state !== "done") return [bytes ? size(bytes) : "…"];
	const { outputs, started_at: start, finished_at: end } = status;
	const [{ width, height }] = outputs;
	const made = sum(outputs, (output) => output.bytes);
	const what = outputs[1] ? `${outputs.length} files` : `${width} × ${height}`;
	const seconds = ((new Date(end) - new Date(start)) / 1000).toFixed(2);
	return [`${size(bytes)} → ${size(made)}, `, make("b", {}, change(bytes, made)), ` · ${what} · ${seconds} s`];
}

function ask(row) {
	erase(row, row.copied === row.id);
	update(row, { state: "waiting", id: "", problem: null, status: null, after: null, token: token() });
	detail(row);
}

/** Stop what goes on, and delete the job as soon as the service is there. */
async function erase({ id, stop }, keep) {
	stop?.abort();
	const gone = async () => (await call(`resize/${id}`, { method: "DELETE" })).status < 500;
	while (id && !keep && (locked || !(await gone().catch(() => false)))) await pause(1);
	note(id);
}

async function remove(row) {
	const { element } = row;
	const next = element.nextElementSibling ?? element.previousElementSibling;
	if (element.contains(document.activeElement)) (next?.querySelector(".delete") ?? $("choose")).focus();
	element.inert = true;
	update(row, { state: "deleting", file: null, token: "" });
	await erase(row);
	rows.splice(rows.indexOf(row), 1);
	element.remove();
	pump();
}

async function end(row, state, problem) {
	update(row, { state, problem });
	row.ended?.(row);
	say(`${row.name}: ${state}`);
	detail(row);
	if (state === "done") thumb(row, 3);
}

async function thumb(row, tries) {
	const { image } = row.at;
	image.onerror = async () => tries && (await lost(), thumb(row, tries - 1));
	image.src = key ? view(await fetched(row).catch(() => new Blob())) : address(row);
}

let saying;
function say(text) {
	clearTimeout(saying);
	saying = setTimeout(() => ($("live").textContent = `${text}. ${$("sum").textContent}`), 500);
}

// --- Sending and watching: a browser has six connections

function pump() {
	summarize();
	if (!limits.uploads || away || locked) return;
	const sending = rows.filter((row) => row.state === "uploading").length;
	const waits = rows.filter((row) => row.state === "waiting" && (row.fixed || !faulty));
	if (!held) waits.slice(0, Math.max(0, Math.min(3, limits.uploads) - sending)).forEach(send);
	const open = rows.filter((row) => row.id && !ended(row)).sort((one, other) => one.seen - other.seen);
	const free = open.filter((row) => !row.watched);
	for (const row of free.slice(0, 2 + free.length - open.length)) watch(row, open.length > 2);
}

async function send(row) {
	const { token } = row;
	update(row, { state: "uploading", sent: 0, parameters: row.fixed ?? parameters(), stop: new AbortController() });
	try {
		const answer = await post(row, (sent) => update(row, { sent }));
		const body = answer.response ?? { title: `The service answered ${answer.status}` };
		if (token !== row.token) return;
		update(row, { state: "waiting" });
		if (body.id) {
			update(row, { id: body.id, state: body.status });
			note(row.id, { id: row.id, name: row.name, parameters: row.parameters });
		} else if ([409, 429, 503, 507].includes(answer.status)) {
			countdown(answer.getResponseHeader("Retry-After") || 2, `${body.title}. Uploads go on`);
		} else if (body.errors) fault(body.errors);
		else if (!refused(answer.status)) end(row, "failed", body);
	} catch {
		const back = await lost();
		if (token !== row.token) return;
		if (back) update(row, { state: "waiting" });
		else end(row, "failed", { title: "The connection broke off" });
	} finally {
		pump();
	}
}

async function watch(row, others) {
	const { token } = row;
	row.watched = true;
	try {
		const seconds = Math.min(limits.wait_seconds, others || row.state === "queued" ? 1 : 30);
		const answer = await call(`resize/status/${row.id}?wait=${seconds}`, { signal: row.stop?.signal });
		const status = await answer.json();
		if (token !== row.token) return;
		row.seen = performance.now();
		if (answer.ok) {
			update(row, { status, state: status.status, bytes: status.source?.bytes });
			if (ended(row)) end(row, row.state, status.error);
		} else if (answer.status >= 500) await pause(2);
		else if (row.file) end(row, "failed", status);
		else remove(row);
	} catch {
		if (token === row.token) await pause(1);
	} finally {
		row.watched = false;
		pump();
	}
}

function summarize() {
	const mine = rows.filter((row) => row.list === "rows");
	const [done, { length: failed }] = ["done", "failed"].map((state) => mine.filter((row) => row.state === state));
	const before = sum(done, (row) => row.bytes);
	const after = sum(done, (row) => sum(row.status.outputs, (output) => output.bytes));
	const saved = before ? ` · ${size(before)} → ${size(after)}, ${change(before, after)}` : "";
	$("sum").textContent = `${done.length} of ${mine.length} done${failed ? ` · ${failed} failed` : ""}${saved}`;
	$("all").hidden = !done[1];
}

// --- An opened row: before and after, warnings, the request for programs

function detail(row) {
	if (row.at.detail.hidden) return;
	const parts = [];
	if (row.state === "done") {
		const { outputs, warnings } = row.status;
		const items = warnings.map(({ detail }) => make("li", {}, detail));
		for (const one of outputs[1] ? outputs : []) items.push(make("li", {}, link(row, one), `, ${size(one.bytes)}`));
		parts.push(compare(row), make("ul", {}, ...items));
	}
	row.at.detail.replaceChildren(...parts, snippets(row));
}

function compare(row) {
	const { width, height, bytes } = main(row);
	const box = make("div", { className: "compare" });
	const show = async (side, url, bytes) => {
		const image = make("img", { className: side, alt: `${row.name}, ${side}` });
		box.append(image, make("span", { className: `tag ${side}` }, `${side}, ${size(bytes)}`));
		image.src = await url.catch(() => "");
	};
	box.style.aspectRatio = `${width} / ${height}`;
	box.style.width = `min(100%, ${(70 * width) / height}vh)`;
	show("after", (row.after ??= fetched(row).then(shown)), bytes);
	if (row.file) {
		show("before", (row.before ??= shown(row.file)), row.bytes);
		const slider = make("input", { type: "range", value: 50, ariaLabel: `Before and after: ${row.name}` });
		slider.oninput = () => box.style.setProperty("--at", `${slider.value}%`);
		box.append(make("span", { className: "handle" }), slider);
	}
	return box;
}

/** Resolve to an address to show; of what the browser cannot decode (HEIC, TIFF), the service makes a JPEG. */
async function shown(file) {
	const url = view(file);
	return make("img", { src: url }).decode().then(() => url, () => converted(file));
}

async function converted(file) {
	const given = { file, name: "preview", fixed: { width: "100%", format: "jpeg" } };
	const row = await new Promise((ended) => (addRow({ ...given, ended }), pump()));
	const url = row.state === "done" && view(await fetched(row));
	remove(row);
	return url;
}

const text = JSON.stringify;
const shell = (word) => `'${word.replaceAll("'", `'\\''`)}'`;
const upload = (name) => `@${/[;,"\\]/.test(name) ? text(name) : name}`;
const python = (value) => (value === "true" ? "True" : isNaN(value) ? text(value) : value);

/** Return the request of a row in several languages. */
function requests(row) {
	const url = `${server}?wait=${Math.min(30, limits.wait_seconds ?? 30)}`;
	const target = `small.${(row.status?.outputs[0]?.media_type ?? "image/jpeg").slice(6).replace("jpeg", "jpg")}`;
	const fields = Object.entries({ file: row.name, ...(row.state === "waiting" ? parameters() : row.parameters) });
	const isFile = (name) => name === "file" || name === "watermark";
	const each = (write) => fields.map(([name, value]) => write(name, value.name ?? value));
	const curl = each((name, value) => `-F ${shell(`${name}=${isFile(name) ? upload(value) : value}`)} \\\n  `);
	const named = each((name, value) => (name === "file" ? text(value) : `${name}=${python(value)}`));
	const node = (name, value) => (isFile(name) ? `await openAsBlob(${text(value)})` : text(value));
	const form = each((name, value) => `form.set("${name}", ${node(name, value)});\n`);
	const found = {
		curl: `curl -L ${curl.join("")}${key ? '-H "X-API-Key: $IMG_KEY" \\\n  ' : ""}'${url}' -o ${target}`,
		Python: `${key ? "import os\n" : ""}from pathlib import Path

from img_client import Client

with Client("${server.slice(0, -7)}"${key ? ', api_key=os.environ["IMG_KEY"]' : ""}) as client:
    Path("${target}").write_bytes(client.resize(${named.join(", ")}))`,
		Node: `import { openAsBlob, promises } from "node:fs";

const form = new FormData();
${form.join("")}
const answer = await fetch("${url}", {
  method: "POST",
  body: form,${key ? '\n  headers: { "X-API-Key": process.env.IMG_KEY },' : ""}
});
if (answer.status !== 200) throw new Error(await answer.text());
await promises.writeFile("${target}", answer.body);`,
	};
	if (row.state === "done" && main(row).media_type !== "image/tiff") {
		const { width, height, media_type } = main(row);
		const sources = row.status.sources
			.filter((one) => one.media_type !== media_type || one.srcset.includes(","))
			.map((one) => `\n  <source type="${one.media_type}" srcset="${one.srcset.replace(/\S*\/resize/g, server)}">`);
		found["<picture>"] = `<picture>${sources.join("")}
  <img src="${address(row)}" width="${width}" height="${height}" alt="">
</picture>`;
	}
	return found;
}

function snippets(row) {
	const found = requests(row);
	const code = make("pre", { tabIndex: 0 }, found.curl);
	const group = token();
	const choices = Object.keys(found).map((name) => {
		const onchange = () => (code.textContent = found[name]);
		return make("label", {}, make("input", { type: "radio", name: group, checked: name === "curl", onchange }), name);
	});
	const button = make("button", { onclick: () => copy(code.textContent) }, "Copy");
	return make("div", {}, make("fieldset", { ariaLabel: "The request as" }, ...choices, button), code);
}

async function copy(value) {
	try {
		await navigator.clipboard.writeText(value);
	} catch { // not on HTTPS
		const area = document.body.appendChild(make("textarea", { value }));
		area.select();
		document.execCommand("copy");
		area.remove();
	}
	say("Copied");
}

function link(row, output) {
	const onclick = (event) => save(event, row, output);
	return make("a", { href: address(row, output), download: "", onclick }, output.name);
}

/** Download with the key, which a link cannot send. */
async function save(event, row, output = main(row)) {
	if (!key) return;
	event.preventDefault();
	const { width, height, name } = output;
	const download = `${row.name.replace(/\.[^.]*$/, "")}-${width}x${height}${name.replace(/.*\./, ".")}`;
	make("a", { href: view(await fetched(row, output)), download }).click();
}

// --- Pictures come in

function takeIn(files) {
	const seen = [...files].filter((file) => !file.name.startsWith("."));
	$("rows").prepend(...seen.map((file) => addRow({ file, name: file.name, bytes: file.size, list: "rows" })));
	pump();
}

async function filesOf(entry) {
	if (entry.isFile) return new Promise((done, fail) => entry.file(done, fail));
	const reader = entry.createReader();
	const found = [];
	for (let some; (some = await new Promise((done, fail) => reader.readEntries(done, fail)))[0]; ) found.push(...some);
	return (await Promise.all(found.map(filesOf))).flat();
}

document.ondragover = document.ondragleave = document.ondrop = async (event) => {
	const { types, items, files } = event.dataTransfer;
	if (!types.includes("Files")) return;
	event.preventDefault();
	document.body.className = event.type === "dragover" ? "over" : "";
	if (event.type !== "drop") return;
	const plain = [...files];
	const entries = [...items].map((item) => item.webkitGetAsEntry());
	takeIn(entries.some((entry) => entry?.isDirectory) ? (await Promise.all(entries.map(filesOf))).flat() : plain);
};
document.onpaste = (event) => takeIn(event.clipboardData.files);
for (const [button, input] of [["choose", "files"], ["shoot", "camera"]]) {
	$(button).onclick = () => $(input).click();
	$(input).onchange = () => (takeIn($(input).files), ($(input).value = ""));
}
$("all").onclick = async () => {
	for (const row of rows.filter((one) => one.list === "rows" && one.state === "done")) {
		for (const output of row.status.outputs) {
			link(row, output).click();
			await pause(0.2);
		}
	}
};
onbeforeunload = (event) => rows.some((row) => !row.id && !ended(row)) && event.preventDefault();

// --- The strip, recent jobs, the start

async function strip() {
	const stats = document.hidden || away || locked ? {} : await json("stats").catch(() => ({}));
	if (stats.engines) {
		const { queued, processing, engines, free_bytes: free } = stats;
		const many = engines.length || "none, pictures wait for one";
		$("strip").textContent = `Waiting ${queued} · running ${processing} · engines ${many} · free ${size(free)}`;
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
		const found = await json("limits");
		const { paths, securityDefinitions } = await json("swagger.json");
		if (securityDefinitions && !key) refused(401);
		paths["/resize"].post.parameters.forEach(addField);
		settings.elements.width.value = "800";
		limits = found;
		recall();
	} catch {
		await pause(1);
		begin();
	}
}

document.onsubmit = (event) => {
	event.preventDefault();
	if (event.target === settings) return;
	key = sessionStorage.imgKey = $("key").value;
	locked = false;
	$("access").hidden = true;
	recall();
};

begin();
strip();
