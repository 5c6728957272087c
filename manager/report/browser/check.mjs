// Opens a report in a real browser, without a network, and tells what it saw:
// node check.mjs CHROMIUM FILE [FOLDER for screenshots]
import { chromium } from "playwright-core";
import { pathToFileURL } from "node:url";

const [executablePath, file, folder] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic",
  "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  const seen = { errors: [], requests: [] };
  page.on("console", message => { if (message.type() !== "log") seen.errors.push(message.text()); });
  page.on("pageerror", error => seen.errors.push(String(error)));
  page.on("request", request => seen.requests.push(request.url().split(":")[0]));
  await page.goto(pathToFileURL(file).href);
  const count = selector => page.locator(selector).count();
  seen.title = await page.title();
  seen.plots = await page.locator("figure.plot").evaluateAll(all => all.map(plot => plot.id));
  seen.empty = await page.locator("figure.plot > svg").evaluateAll(all => all.filter(svg => !svg.querySelector("circle")).length);
  seen.outside = await page.locator("figure.plot > svg").evaluateAll(all => all.filter(svg =>
    [...svg.querySelectorAll("circle")].some(c => c.cx.baseVal.value < 70 || c.cx.baseVal.value > 630 || c.cy.baseVal.value < 0 || c.cy.baseVal.value > 255)).length);
  seen.styled = await page.evaluate(() => getComputedStyle(document.querySelector("h2")).marginTop === "0px");
  seen.slo = await count("figure.plot .rule.slo");
  seen.rows = await count("#experiments tbody tr");
  const first = () => page.locator("#experiments tbody tr").first().locator("td").first().innerText();
  seen.before = await first();
  await page.locator("#experiments th button").first().click();
  await page.locator("#experiments th button").first().click();
  seen.after = await first();
  seen.ways = await count("#parallel .way");
  if (seen.ways) {
    await page.locator("#parallel").scrollIntoViewIfNeeded();
    const box = await page.locator("#parallel").boundingBox();
    const line = await page.locator("#parallel .grip").last().evaluate(grip => [grip.x1, grip.y1, grip.y2].map(at => at.baseVal.value));
    const scale = box.height / 320, [x, top, bottom] = [box.x + line[0] * scale, box.y + line[1] * scale, box.y + line[2] * scale];
    await page.mouse.move(x, bottom - 1);
    await page.mouse.down();
    await page.mouse.move(x, bottom - 0.3 * (bottom - top), { steps: 4 });
    await page.mouse.up();
    seen.selected = seen.ways - await count("#parallel .way.off");
    await page.mouse.click(x, (top + bottom) / 2);
    seen.released = seen.ways - await count("#parallel .way.off");
  }
  if (folder) {
    await page.screenshot({ path: folder + "/light.png", fullPage: true });
    await page.emulateMedia({ colorScheme: "dark" });
    await page.screenshot({ path: folder + "/dark.png", fullPage: true });
  }
  seen.narrow = await page.setViewportSize({ width: 390, height: 800 })
    .then(() => page.evaluate(() => document.documentElement.scrollWidth <= 391 ? [] : [...document.querySelectorAll("body *")]
      .filter(e => !e.closest(".scroll, svg") && e.getBoundingClientRect().right > 391).map(e => e.tagName + "." + e.className + "#" + e.id)));
  await page.emulateMedia({ media: "print" });
  seen.printed = (await page.pdf()).length > 1000;
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
