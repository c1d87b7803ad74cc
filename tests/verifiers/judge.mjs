// Judges webhooks as receivers in JavaScript do. A case per line comes in as JSON, a verdict per line
// goes out. The first argument is the folder in which the packages are installed.
//
// What is called a sample is written after what a service tells its users to do, down to what it does
// with two signatures in one header: such receivers exist, and have to pass.

import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "package.json"));
const Stripe = require("stripe");
const { Webhook } = require("standardwebhooks");

const TOLERANCE = 300;

function same(one, other) {
  // Throws where the lengths differ, as it does in the services' own samples.
  return timingSafeEqual(Buffer.from(one), Buffer.from(other));
}

function fresh(seconds) {
  return Math.abs(Date.now() / 1000 - Number(seconds)) <= TOLERANCE;
}

function hex(secret, time, body) {
  return createHmac("sha256", secret).update(`${time}.`).update(body).digest("hex");
}

const verifiers = {
  // A map of the elements: of two v1 the last one stays.
  "xpay-sample"({ headers, body, secret }) {
    const elements = headers["xpay-signature"].split(",").map((element) => element.split("="));
    const { t, v1 } = Object.fromEntries(elements);
    return fresh(t) && same(v1, hex(secret, t, body));
  },

  // The first two elements by position; the body as a framework parsed it and printed it again.
  "jopay-sample"({ headers, body, secret }) {
    const values = headers["x-jopay-signature"].split(",").map((element) => element.split("=")[1]);
    const printed = JSON.stringify(JSON.parse(body.toString("utf8")));
    return values[1] === hex(secret, values[0], Buffer.from(printed, "utf8"));
  },

  // The whole header against one signature: it cannot cope with a list.
  "elixpo-sample"({ headers, body, secret }) {
    const time = headers["x-elixpo-pay-timestamp"];
    return fresh(time) && same(headers["x-elixpo-pay-signature"], `sha256=${hex(secret, time, body)}`);
  },

  "elixpo-list"({ headers, body, secret }) {
    const time = headers["x-elixpo-pay-timestamp"];
    const expected = `sha256=${hex(secret, time, body)}`;
    const known = headers["x-elixpo-pay-signature"].split(",");
    const event = JSON.parse(body.toString("utf8"));
    const named = headers["x-elixpo-pay-event"] === event.type && event.id.startsWith("whd_");
    return named && fresh(time) && known.some((one) => same(one, expected));
  },

  "subscriptions-sample"({ headers, body, secret }) {
    return same(headers["xpay-signature"], createHmac("sha512", secret).update(body).digest("base64"));
  },

  stripe({ headers, body, secret }) {
    const header = headers["x-jopay-signature"] ?? headers["xpay-signature"];
    Stripe.webhooks.constructEvent(body, header, secret, TOLERANCE);
    return true;
  },

  standardwebhooks({ headers, body, secret }) {
    new Webhook(secret).verify(body, headers);
    return true;
  },

  // By the public key alone, as Standard Webhooks describes it.
  ed25519({ headers, body, secret }) {
    const point = Buffer.from(secret.slice("whpk_".length), "base64");
    const prefix = Buffer.from("302a300506032b6570032100", "hex");
    const key = createPublicKey({ key: Buffer.concat([prefix, point]), format: "der", type: "spki" });
    const time = headers["webhook-timestamp"];
    const message = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${time}.`), body]);
    const signed = headers["webhook-signature"]
      .split(" ")
      .filter((element) => element.startsWith("v1a,"))
      .some((element) => verify(null, message, key, Buffer.from(element.slice(4), "base64")));
    return fresh(time) && signed;
  },

  // Not a verifier: whether a body comes out of this language as it went in.
  "parse-and-print"({ body }) {
    const text = body.toString("utf8");
    return JSON.stringify(JSON.parse(text)) === text;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { verifier, headers, secret, body } = JSON.parse(line);
  let verdict;
  try {
    const accepted = verifiers[verifier]({ headers, secret, body: Buffer.from(body, "base64") });
    verdict = { accepted, why: accepted ? "" : "no match" };
  } catch (error) {
    verdict = { accepted: false, why: String(error.message ?? error) };
  }
  console.log(JSON.stringify(verdict));
}
