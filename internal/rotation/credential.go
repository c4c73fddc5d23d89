package rotation

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"strings"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// keyBits is the size of keys that are made: what Okta takes from every client.
const keyBits = 2048

var b64 = base64.RawURLEncoding

// jwk is an RSA key (RFC 7518 section 6.3). The private members are empty in a public one.
type jwk struct {
	Kty string `json:"kty"`
	KID string `json:"kid"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
	N   string `json:"n"`
	E   string `json:"e"`
	D   string `json:"d,omitempty"`
	P   string `json:"p,omitempty"`
	Q   string `json:"q,omitempty"`
	DP  string `json:"dp,omitempty"`
	DQ  string `json:"dq,omitempty"`
	QI  string `json:"qi,omitempty"`
}

func publicJWK(k *rsa.PublicKey, kid string) jwk {
	return jwk{Kty: "RSA", KID: kid, Use: "sig", Alg: "RS256", N: b64.EncodeToString(k.N.Bytes()), E: b64.EncodeToString(big.NewInt(int64(k.E)).Bytes())}
}

func privateJWK(k *rsa.PrivateKey, kid string) jwk {
	j := publicJWK(&k.PublicKey, kid)
	j.D, j.P, j.Q = b64.EncodeToString(k.D.Bytes()), b64.EncodeToString(k.Primes[0].Bytes()), b64.EncodeToString(k.Primes[1].Bytes())
	j.DP, j.DQ, j.QI = b64.EncodeToString(k.Precomputed.Dp.Bytes()), b64.EncodeToString(k.Precomputed.Dq.Bytes()), b64.EncodeToString(k.Precomputed.Qinv.Bytes())
	return j
}

// Thumbprint is a key's RFC 7638 thumbprint, the id under which it is registered.
func Thumbprint(k *rsa.PublicKey) string {
	j := publicJWK(k, "")
	sum := sha256.Sum256([]byte(`{"e":"` + j.E + `","kty":"RSA","n":"` + j.N + `"}`))
	return b64.EncodeToString(sum[:])
}

// ReadKey reads a private RSA key from a file: PEM (PKCS#8 or PKCS#1), or a JWK. kid is the JWK's, else the thumbprint. An
// absent file is fs.ErrNotExist. Errors never quote the file.
func ReadKey(file string) (key *rsa.PrivateKey, kid string, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("reading a private key: %w", err)
	}
	if block, _ := pem.Decode(raw); block != nil {
		key, err = parsePEM(block)
	} else {
		key, kid, err = parseJWK(raw)
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading private key %s: %w", file, err)
	}
	if kid == "" {
		kid = Thumbprint(&key.PublicKey)
	}
	return key, kid, nil
}

func parsePEM(block *pem.Block) (*rsa.PrivateKey, error) {
	if block.Type == "RSA PRIVATE KEY" {
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
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

func parseJWK(raw []byte) (*rsa.PrivateKey, string, error) {
	var j jwk
	if json.Unmarshal(raw, &j) != nil {
		return nil, "", errors.New("neither PEM nor a JWK")
	}
	var numbers [5]*big.Int
	for i, text := range []string{j.N, j.E, j.D, j.P, j.Q} {
		b, err := b64.DecodeString(text)
		if err != nil || len(b) == 0 {
			return nil, "", errors.New("a JWK that is not a whole RSA private key")
		}
		numbers[i] = new(big.Int).SetBytes(b)
	}
	if j.Kty != "RSA" || !numbers[1].IsInt64() || numbers[1].Int64() > 1<<31-1 {
		return nil, "", errors.New("a JWK that is no RSA key")
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: numbers[0], E: int(numbers[1].Int64())}, D: numbers[2], Primes: []*big.Int{numbers[3], numbers[4]}}
	if err := key.Validate(); err != nil {
		return nil, "", errors.New("a JWK whose numbers are not those of one RSA key")
	}
	key.Precompute()
	return key, j.KID, nil
}

// nextFile is where the next credential waits beside the one in force.
func nextFile(file string) string { return file + ".next" }

// makeKey makes the next private key beside a file, unless there is one, and reads it. A crash leaves none or a whole one.
func makeKey(file string) (key *rsa.PrivateKey, kid string, err error) {
	next := nextFile(file)
	if key, kid, err = ReadKey(next); !errors.Is(err, fs.ErrNotExist) {
		return key, kid, err
	}
	if key, err = rsa.GenerateKey(rand.Reader, keyBits); err != nil {
		return nil, "", fmt.Errorf("making a key: %w", err)
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("looking at the key in force: %w", err)
	}
	raw, err := encodeKey(key, old)
	if err != nil {
		return nil, "", fmt.Errorf("encoding a key: %w", err)
	}
	if err := placeNext(file, raw); err != nil {
		return nil, "", err
	}
	return ReadKey(next)
}

// encodeKey writes a key in the form of the old one: PEM (PKCS#8), or a JWK with its id.
func encodeKey(key *rsa.PrivateKey, old []byte) ([]byte, error) {
	if block, _ := pem.Decode(old); block != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
	}
	raw, err := json.Marshal(privateJWK(key, Thumbprint(&key.PublicKey)))
	return append(raw, '\n'), err
}

// makeSecret makes the next secret beside a file, unless there is one, and reads it.
func makeSecret(file string) (string, error) {
	secret, err := ReadSecret(nextFile(file))
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if err := placeNext(file, []byte(rand.Text()+rand.Text()+"\n")); err != nil {
		return "", err
	}
	return ReadSecret(nextFile(file))
}

// placeNext writes with the mode of the file in force, so that whoever reads the one can read the other.
func placeNext(file string, raw []byte) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("looking at the credential in force: %w", err)
	}
	if err := durable.CreateFile(nextFile(file), raw, info.Mode().Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keeping the next credential: %w", err)
	}
	return nil
}

// ReadSecret reads a secret from a file: its one line.
func ReadSecret(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" || strings.ContainsAny(secret, " \t\r\n") {
		return "", fmt.Errorf("reading a secret: %s does not hold one line with a secret", file)
	}
	return secret, nil
}

// digestOf names a file's contents without telling them: what is in it has more than 128 random bits.
func digestOf(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading a credential: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
