// Has AsyncAPI's own parser read the document; ends with 1 where it finds an error or a warning.

import { readFileSync } from 'node:fs';
import { DiagnosticSeverity, Parser } from '@asyncapi/parser';

// We write 3.0.0, which all tools know, though there is a later one.
const PASSED_OVER = new Set(['asyncapi-latest-version']);

const [path] = process.argv.slice(2);
const { document, diagnostics } = await new Parser().parse(readFileSync(path, 'utf8'));
const found = diagnostics.filter(({ code }) => !PASSED_OVER.has(code));
for (const { severity, path: at, message } of found) {
  console.error(`${DiagnosticSeverity[severity].toLowerCase()}: ${at.join('.')}: ${message}`);
}
const bad = found.some(({ severity }) => severity <= DiagnosticSeverity.Warning);
if (document === undefined || bad) process.exit(1);
const [operations, messages] = [document.allOperations(), document.allMessages()];
console.log(`${path}: AsyncAPI ${document.version()}, ${operations.all().length} operations, `
  + `${messages.all().length} messages, no error`);
