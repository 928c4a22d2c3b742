// JSON Schema as far as the files of docs/contracts use it. A keyword that is not known here is an
// error, and never passed over.

import { Float } from './strict.js';

const SAID_ONLY = new Set([
  '$schema', '$id', '$defs', 'title', 'description', 'default', 'examples', 'format',
]);

const CHECKS = {
  type: (value, types) => [types].flat().some((type) => isOf(value, type)),
  enum: (value, allowed) => allowed.includes(value),
  const: (value, wanted) => value === wanted,
  pattern: (value, pattern) => typeof value !== 'string' || new RegExp(pattern, 'u').test(value),
  minLength: (value, least) => typeof value !== 'string' || [...value].length >= least,
  maxLength: (value, most) => typeof value !== 'string' || [...value].length <= most,
  minimum: (value, least) => !isNumber(value) || numberOf(value) >= least,
  maximum: (value, most) => !isNumber(value) || numberOf(value) <= most,
  exclusiveMinimum: (value, bound) => !isNumber(value) || numberOf(value) > bound,
  minItems: (value, least) => !Array.isArray(value) || value.length >= least,
  maxItems: (value, most) => !Array.isArray(value) || value.length <= most,
  required: (value, names) => !isObject(value) || names.every((name) => name in value),
  items: (value, items, at) =>
    !Array.isArray(value) || value.every((each) => holds(each, items, at.root)),
  properties: (value, properties, at) =>
    !isObject(value) ||
    Object.entries(properties).every(([name, schema]) =>
      !(name in value) || holds(value[name], schema, at.root)),
  patternProperties: (value, patterns, at) =>
    !isObject(value) ||
    Object.entries(patterns).every(([pattern, schema]) =>
      Object.keys(value).every((name) =>
        !new RegExp(pattern, 'u').test(name) || holds(value[name], schema, at.root))),
  additionalProperties: (value, schema, at) =>
    !isObject(value) ||
    Object.keys(value).every((name) =>
      isNamed(name, at.schema) || holds(value[name], schema, at.root)),
  anyOf: (value, schemas, at) => schemas.some((each) => holds(value, each, at.root)),
  oneOf: (value, schemas, at) =>
    schemas.filter((each) => holds(value, each, at.root)).length === 1,
  allOf: (value, schemas, at) => schemas.every((each) => holds(value, each, at.root)),
  not: (value, schema, at) => !holds(value, schema, at.root),
  if: (value, schema, at) =>
    holds(value, (holds(value, schema, at.root) ? at.schema.then : at.schema.else) ?? true, at.root),
  then: () => true, // looked at with `if`
  else: () => true,
  $ref: (value, reference, at) => holds(value, lookUp(reference, at.root), at.root),
};

/** Whether `value`, as strict.js parses it, is what the schema wants. */
export function holds(value, schema, root = schema) {
  if (typeof schema === 'boolean') return schema;
  return Object.entries(schema).every(([keyword, wanted]) => {
    if (SAID_ONLY.has(keyword) || keyword.startsWith('x-')) return true;
    const check = CHECKS[keyword];
    if (check === undefined) throw new TypeError(`keyword of JSON Schema not known: ${keyword}`);
    return check(value, wanted, { schema, root });
  });
}

/** Names of the members that are missing or not what the schema wants; at the root only. */
export function faults(value, schema) {
  const missing = (schema.required ?? []).filter((name) => !(name in value));
  const wrong = Object.entries(schema.properties ?? {})
    .filter(([name, inner]) => name in value && !holds(value[name], inner, schema))
    .map(([name]) => name);
  const found = [...missing, ...wrong];
  return found.length > 0 || holds(value, schema) ? found : ['what they say together'];
}

function isNamed(name, { properties = {}, patternProperties = {} }) {
  const patterns = Object.keys(patternProperties);
  return Object.hasOwn(properties, name)
    || patterns.some((pattern) => new RegExp(pattern, 'u').test(name));
}

function isOf(value, type) {
  switch (type) {
    case 'object': return isObject(value);
    case 'array': return Array.isArray(value);
    case 'integer': return Number.isInteger(value);
    case 'number': return isNumber(value);
    case 'null': return value === null;
    default: return typeof value === type;
  }
}

function isObject(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Float);
}

function isNumber(value) {
  return typeof value === 'number' || value instanceof Float;
}

function numberOf(value) {
  return value instanceof Float ? value.value : value;
}

function lookUp(reference, root) {
  return reference.replace(/^#\//, '').split('/').reduce((found, part) => found[part], root);
}
