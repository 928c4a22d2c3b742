// Node.js 18 has it, and not yet as a global (Debian 12); later ones have it as one.
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
