// Public keys that are well formed, and no proof of who signed.

const MIN_BITS = 2048;
const EXPONENT = 'AQAB'; // 65537
const SMALL = [2n, 3n, 5n, 7n];
/** Primes modulo which a key of CVE-2017-15361 is a power of 65537 (Nemec and others, CCS 2017). */
const ROCA = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

const P = 2n ** 255n - 19n; // of Ed25519
const ORDER_8 = littleEndian(
  Buffer.from('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', 'hex'),
);
/** y of all points whose order divides 8: under such a key a signature holds for many messages. */
const SMALL_ORDER = [0n, 1n, P - 1n, ORDER_8, P - ORDER_8];

export function isWeak(jwk) {
  if (jwk.kty === 'RSA') return isWeakRsa(jwk);
  return jwk.kty === 'OKP' && isWeakEd25519(jwk);
}

function isWeakRsa({ n, e }) {
  if (n === '') return true;
  const modulus = BigInt(`0x${Buffer.from(n, 'base64url').toString('hex')}`);
  if (e !== EXPONENT || modulus.toString(2).length < MIN_BITS) return true;
  if ([...SMALL, ...ROCA.map(BigInt)].some((prime) => modulus % prime === 0n)) return true;
  return ROCA.every((prime) => powers(prime).has(Number(modulus % BigInt(prime))));
}

function powers(prime) {
  const found = new Set();
  for (let power = 1; !found.has(power); power = (power * 65537) % prime) found.add(power);
  return found;
}

function isWeakEd25519({ x }) {
  const y = littleEndian(Buffer.from(x, 'base64url')) & (2n ** 255n - 1n);
  return y >= P || SMALL_ORDER.includes(y);
}

function littleEndian(bytes) {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}
