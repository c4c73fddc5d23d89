package devorg

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
)

// passwordRounds is far below what a product needs: this is a development org with a published password, and every test
// logs in several times.
const passwordRounds = 2000

const passwordPrefix = "pbkdf2-sha256-2000$"

// hashPassword encodes a password as prefix, salt and key. An empty password gives an empty hash, which matches nothing.
func hashPassword(password string) (string, error) {
	if password == "" {
		return "", nil
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	key, err := pbkdf2.Key(sha256.New, password, salt, passwordRounds, 32)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return passwordPrefix + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(key), nil
}

// noPassword is compared against when nobody has the login, so that the answer takes as long.
var noPassword = passwordPrefix + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43)

func checkPassword(hash, password string) bool {
	rest, ok := strings.CutPrefix(hash, passwordPrefix)
	if !ok {
		return false
	}
	saltText, keyText, _ := strings.Cut(rest, "$")
	salt, err := base64.RawStdEncoding.DecodeString(saltText)
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(keyText)
	if err != nil {
		return false
	}
	got, err := pbkdf2.Key(sha256.New, password, salt, passwordRounds, len(want))
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1
}
