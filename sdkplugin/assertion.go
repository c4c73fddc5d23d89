package sdkplugin

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"
)

// assertionKey signs client assertions.
type assertionKey struct {
	key *rsa.PrivateKey
	kid string
}

// readAssertionKey reads an RSA private key in PEM or as a JWK. kid, when it is set, wins over the JWK's own.
func readAssertionKey(path, kid string) (assertionKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return assertionKey{}, fmt.Errorf("reading private key: %w", err)
	}
	var k assertionKey
	if block, _ := pem.Decode(data); block != nil {
		k.key, err = parsePEMKey(block)
	} else {
		k, err = parseJWK(data)
	}
	if err != nil {
		return assertionKey{}, fmt.Errorf("reading private key %s: %w", path, err)
	}
	if kid != "" {
		k.kid = kid
	}
	if k.kid == "" {
		k.kid = thumbprint(&k.key.PublicKey)
	}
	if bits := k.key.N.BitLen(); bits < 2048 {
		return assertionKey{}, fmt.Errorf("reading private key %s: an RSA key of %d bits, fewer than 2048", path, bits)
	}
	return k, nil
}

func parsePEMKey(block *pem.Block) (*rsa.PrivateKey, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		key, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("a %T, not an RSA key", parsed)
		}
		return key, nil
	}
	return nil, fmt.Errorf("a PEM block %q, not a private key without passphrase", block.Type)
}

// parseJWK reads an RSA private key as RFC 7518 section 6.3 writes it, with both primes.
func parseJWK(data []byte) (assertionKey, error) {
	var j struct {
		KeyType string `json:"kty"`
		KeyID   string `json:"kid"`
		N       string `json:"n"`
		E       string `json:"e"`
		D       string `json:"d"`
		P       string `json:"p"`
		Q       string `json:"q"`
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return assertionKey{}, errors.New("neither PEM nor a JWK") // err could quote the key
	}
	if j.KeyType != "RSA" {
		return assertionKey{}, fmt.Errorf("a JWK of type %q, not RSA", j.KeyType)
	}
	var numbers [5]*big.Int
	for i, text := range []string{j.N, j.E, j.D, j.P, j.Q} {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(b) == 0 {
			return assertionKey{}, errors.New("a JWK that lacks one of n, e, d, p, q")
		}
		numbers[i] = new(big.Int).SetBytes(b)
	}
	if !numbers[1].IsInt64() || numbers[1].Int64() > 1<<31-1 {
		return assertionKey{}, errors.New("a JWK with a huge exponent")
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: numbers[0], E: int(numbers[1].Int64())}, D: numbers[2], Primes: []*big.Int{numbers[3], numbers[4]}}
	if err := key.Validate(); err != nil {
		return assertionKey{}, errors.New("a JWK whose numbers do not fit together")
	}
	key.Precompute()
	return assertionKey{key: key, kid: j.KeyID}, nil
}

// thumbprint names a key as RFC 7638 does.
func thumbprint(k *rsa.PublicKey) string {
	b64 := base64.RawURLEncoding.EncodeToString
	sum := sha256.Sum256([]byte(`{"e":"` + b64(big.NewInt(int64(k.E)).Bytes()) + `","kty":"RSA","n":"` + b64(k.N.Bytes()) + `"}`))
	return b64(sum[:])
}

// assertion makes a private_key_jwt (RFC 7523 section 3, OpenID Connect Core section 9): RS256, audience the token endpoint, a fresh jti, five
// minutes of life.
func (k assertionKey) assertion(clientID, tokenURL string, now time.Time) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": k.kid})
	if err != nil {
		return "", fmt.Errorf("encoding assertion: %w", err)
	}
	claims, err := json.Marshal(map[string]any{
		"iss": clientID, "sub": clientID, "aud": tokenURL, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("encoding assertion: %w", err)
	}
	input := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("signing assertion: %w", err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}
