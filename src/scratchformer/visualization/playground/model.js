// The Transformer of src/scratchformer/transformer in plain JavaScript: one source at a time, no
// batch, no padding, no dropout. A sequence is an array of vectors (Float32Array), one a position.
// Products are summed in double precision, so the logits differ from PyTorch's by the rounding of
// the weights to float16 alone.

"use strict";

// IEEE 754 half precision: 1 sign bit, 5 of the exponent, 10 of the fraction.
function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// {name: {shape, data}} from the base64 text of all weights behind one another.
function unpack(shapes, base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const halves = new DataView(bytes.buffer), weights = {};
  let start = 0;
  for (const [name, shape] of shapes) {
    const size = shape.reduce((a, b) => a * b, 1), data = new Float32Array(size);
    for (let i = 0; i < size; i++) data[i] = fromHalf(halves.getUint16(2 * (start + i), true));
    weights[name] = { shape, data };
    start += size;
  }
  return weights;
}

const add = (x, y) => x.map((value, i) => value + y[i]);

function softmax(scores) {
  const top = Math.max(...scores), powers = scores.map((s) => Math.exp(s - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

function logSoftmax(scores) {
  let top = -Infinity, sum = 0;
  for (const s of scores) top = Math.max(top, s);
  for (const s of scores) sum += Math.exp(s - top);
  return Float64Array.from(scores, (s) => s - top - Math.log(sum));
}

// Abramowitz and Stegun 7.1.26 would be off by 1e-7; this series and fraction are exact to double.
function erf(x) {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 2.5) {
    let term = z, sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / (z + fraction) / Math.sqrt(Math.PI));
}

const ACTIVATIONS = {
  relu: (x) => Math.max(x, 0),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  silu: (x) => x / (1 + Math.exp(-x)),
};

class Model {
  constructor(config, weights) {
    this.config = config;
    this.weights = weights;
    this.headWidth = config.d_model / config.num_heads;
    this.positionsOn = true;
    this.off = new Set(); // heads that are silenced: "encoder.0.1" is head 1 of encoder layer 0
  }

  // W x + b, with W as [out, in].
  linear(name, x) {
    const { shape, data } = this.weights[`${name}.weight`], bias = this.weights[`${name}.bias`];
    const [rows, columns] = shape, y = new Float32Array(rows);
    for (let i = 0, k = 0; i < rows; i++) {
      let sum = bias ? bias.data[i] : 0;
      for (let j = 0; j < columns; j++, k++) sum += data[k] * x[j];
      y[i] = sum;
    }
    return y;
  }

  norm(name, x) {
    const gain = this.weights[`${name}.gain`].data, bias = this.weights[`${name}.bias`];
    const centred = this.config.norm === "layer";
    let mean = 0, square = 0;
    if (centred) for (const value of x) mean += value / x.length;
    for (const value of x) square += (value - mean) ** 2 / x.length;
    const scale = 1 / Math.sqrt(square + this.config.norm_epsilon);
    return x.map((v, i) => (v - mean) * scale * gain[i] + (bias ? bias.data[i] : 0));
  }

  residual(name, x, sublayer) {
    if (this.config.norm_position === "pre") return add(x, sublayer(this.norm(`${name}.norm`, x)));
    return this.norm(`${name}.norm`, add(x, sublayer(x)));
  }

  feedForward(name, x) {
    const inner = this.linear(`${name}.inner`, x), kind = this.config.activation;
    if (kind !== "swiglu") return this.linear(`${name}.outer`, inner.map(ACTIVATIONS[kind]));
    const half = inner.length / 2;
    const gated = inner.subarray(0, half).map((g, i) => ACTIVATIONS.silu(g) * inner[half + i]);
    return this.linear(`${name}.outer`, gated);
  }

  wave(position, i, width) {
    const last = Math.max(width / 2 - 1, 1);
    const steps = this.config.slowest_wave_is_exact ? last : width / 2;
    return position / 10000 ** (i / steps);
  }

  embed(side, token, place) {
    const { d_model: width, positions, scale_embeddings } = this.config;
    const table = this.weights[`${side}_embedding.tokens.weight`].data;
    const factor = scale_embeddings ? Math.sqrt(width) : 1;
    const x = table.slice(token * width, (token + 1) * width).map((v) => v * factor);
    const position = place + this.config.position_offset;
    if (this.positionsOn && positions === "learned") {
      const learned = this.weights[`${side}_embedding.positions.table`].data;
      for (let i = 0; i < width; i++) x[i] += learned[position * width + i];
    } else if (this.positionsOn && positions !== "rotary") {
      const halves = positions === "sinusoidal_halves";
      for (let i = 0; i < width / 2; i++) {
        const angle = this.wave(position, i, width);
        x[halves ? i : 2 * i] += Math.sin(angle);
        x[halves ? i + width / 2 : 2 * i + 1] += Math.cos(angle);
      }
    }
    return this.config.embedding_norm ? this.norm(`${side}_embedding.norm`, x) : x;
  }

  // Part number `part` of a projection of several side by side, turned if positions are rotary.
  head(projected, part, head, place) {
    const start = part * this.config.d_model + head * this.headWidth, half = this.headWidth / 2;
    const x = projected.slice(start, start + this.headWidth);
    if (place === null || this.config.positions !== "rotary" || !this.positionsOn) return x;
    return x.map((value, i) => {
      const angle = this.wave(place, i % half, this.headWidth);
      const partner = i < half ? -x[i + half] : x[i - half];
      return value * Math.cos(angle) + partner * Math.sin(angle);
    });
  }

  // One query looks at all keys, head by head. `keys[h][t]` and `values[h][t]` are vectors.
  attend(name, layer, kind, queries, keys, values) {
    const width = this.headWidth, joined = new Float32Array(this.config.d_model), maps = [];
    queries.forEach((query, h) => {
      const scores = keys[h].map((key) => {
        let sum = 0;
        for (let i = 0; i < width; i++) sum += query[i] * key[i];
        return sum / Math.sqrt(width);
      });
      const weights = softmax(scores);
      maps.push(weights);
      if (this.off.has(`${kind}.${layer}.${h}`)) return;
      weights.forEach((weight, t) => {
        for (let i = 0; i < width; i++) joined[h * width + i] += weight * values[h][t][i];
      });
    });
    return { y: this.linear(`${name}.output`, joined), maps };
  }

  heads(make) {
    return Array.from({ length: this.config.num_heads }, (_, h) => make(h));
  }

  // Read a source. Gives what the decoder looks at, and maps[layer][head][query][key].
  encode(tokens) {
    let rows = tokens.map((token, place) => this.embed("source", token, place));
    const maps = [];
    for (let layer = 0; layer < this.config.num_encoder_layers; layer++) {
      const at = `encoder.layers.${layer}`, pre = this.config.norm_position === "pre";
      const around = `${at}.around_self_attention`;
      const inputs = pre ? rows.map((x) => this.norm(`${around}.norm`, x)) : rows;
      const made = inputs.map((x) => this.linear(`${at}.self_attention.query_key_value`, x));
      const part = (p, turned) =>
        this.heads((h) => made.map((m, place) => this.head(m, p, h, turned ? place : null)));
      const [queries, keys, values] = [part(0, true), part(1, true), part(2, false)];
      const seen = this.heads(() => []);
      rows = rows.map((x, place) => {
        const query = this.heads((h) => queries[h][place]);
        const { y, maps: found } = this.attend(
          `${at}.self_attention`, layer, "encoder", query, keys, values);
        found.forEach((weights, h) => seen[h].push(weights));
        return pre ? add(x, y) : this.norm(`${around}.norm`, add(x, y));
      });
      rows = rows.map((x) => this.residual(
        `${at}.around_feed_forward`, x, (z) => this.feedForward(`${at}.feed_forward`, z)));
      maps.push(seen);
    }
    if (this.config.norm_position === "pre") {
      rows = rows.map((x) => this.norm("encoder.final_norm", x));
    }
    const memory = [];
    for (let layer = 0; layer < this.config.num_decoder_layers; layer++) {
      const name = `decoder.layers.${layer}.cross_attention.key_value`;
      const made = rows.map((x) => this.linear(name, x));
      memory.push([0, 1].map((p) => this.heads((h) => made.map((m) => this.head(m, p, h, null)))));
    }
    return { memory, maps };
  }

  // A decoding that has read nothing; states are never changed, so beams may share them.
  start() {
    const empty = () => [this.heads(() => []), this.heads(() => [])];
    return { length: 0, caches: Array.from({ length: this.config.num_decoder_layers }, empty) };
  }

  // Read one more target token: logits of the next, the new state, and the attention of this one.
  step(memory, state, token) {
    let x = this.embed("target", token, state.length);
    const caches = [], decoder = [], cross = [];
    for (let layer = 0; layer < this.config.num_decoder_layers; layer++) {
      const at = `decoder.layers.${layer}`, place = state.length;
      x = this.residual(`${at}.around_self_attention`, x, (z) => {
        const made = this.linear(`${at}.self_attention.query_key_value`, z);
        const [keys, values] = state.caches[layer].map((cache, p) =>
          cache.map((old, h) => [...old, this.head(made, p + 1, h, p === 0 ? place : null)]));
        caches.push([keys, values]);
        const query = this.heads((h) => this.head(made, 0, h, place));
        const { y, maps } = this.attend(
          `${at}.self_attention`, layer, "decoder", query, keys, values);
        decoder.push(maps);
        return y;
      });
      x = this.residual(`${at}.around_cross_attention`, x, (z) => {
        const made = this.linear(`${at}.cross_attention.query`, z);
        const query = this.heads((h) => this.head(made, 0, h, null));
        const { y, maps } = this.attend(
          `${at}.cross_attention`, layer, "cross", query, ...memory[layer]);
        cross.push(maps);
        return y;
      });
      x = this.residual(
        `${at}.around_feed_forward`, x, (z) => this.feedForward(`${at}.feed_forward`, z));
    }
    if (this.config.norm_position === "pre") x = this.norm("decoder.final_norm", x);
    const logits = this.linear("output", x);
    return { logits, state: { length: state.length + 1, caches }, decoder, cross };
  }

  // log p(next token); padding and BOS are never generated.
  logProbabilities(logits) {
    const result = logSoftmax(logits);
    result[this.config.pad_id] = result[this.config.bos_id] = -Infinity;
    return result;
  }
}

// The `count` largest entries, as [index, value], best first; the lower index wins a tie.
function best(values, count) {
  return Array.from(values, (value, index) => [index, value])
    .sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, count);
}

// One token after the other; `choose` picks an index from the log-probabilities.
function decode(model, source, longest, choose) {
  const { memory, maps } = model.encode(source), steps = [];
  let token = model.config.bos_id, state = model.start();
  while (steps.length < longest && token !== model.config.eos_id) {
    const made = model.step(memory, state, token), scores = model.logProbabilities(made.logits);
    [token, state] = [choose(scores), made.state];
    steps.push({ token, scores, cross: made.cross, decoder: made.decoder });
  }
  return { steps, encoder: maps };
}

// As transformer/beam_search.py for one source: ended hypotheses are compared by their mean
// log-probability. `tree` lists every hypothesis that was kept, with its parent.
function beamSearch(model, source, size, longest) {
  const { memory } = model.encode(source), { bos_id, eos_id } = model.config;
  const root = { token: bos_id, parent: null, score: 0, place: -1, state: model.start() };
  let open = [root], ended = [];
  const tree = [root];
  for (let place = 0; place < longest; place++) {
    const candidates = [];
    for (const parent of open) {
      const made = model.step(memory, parent.state, parent.token);
      for (const [token, gain] of best(model.logProbabilities(made.logits), 2 * size)) {
        candidates.push({ token, parent, score: parent.score + gain, place, state: made.state });
      }
    }
    candidates.sort((a, b) => b.score - a.score);
    const kept = candidates.slice(0, 2 * size);
    const ends = (node) => node.token === eos_id || place === longest - 1;
    for (const node of kept) node.rank = node.score / (place + 1);
    ended = [...ended, ...kept.slice(0, size).filter(ends)]
      .sort((a, b) => b.rank - a.rank).slice(0, size);
    open = kept.filter((node) => !ends(node)).slice(0, size);
    tree.push(...kept.slice(0, size).filter(ends), ...open);
    if (!open.length) break;
    if (ended.length === size && open[0].score / (place + 1) <= ended[size - 1].rank) break;
  }
  const winners = ended.map((node) => ({ tokens: pathOf(node), score: node.score, node }));
  return { winners, tree };
}

function pathOf(node) {
  const tokens = [];
  for (let at = node; at.parent; at = at.parent) tokens.unshift(at.token);
  return tokens;
}
