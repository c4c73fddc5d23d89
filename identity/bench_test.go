package identity

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// oktaClaims is what a verifier built on encoding/json would decode into.
type oktaClaims struct {
	Issuer   string   `json:"iss"`
	Audience string   `json:"aud"`
	Subject  string   `json:"sub"`
	UID      string   `json:"uid"`
	ClientID string   `json:"cid"`
	ID       string   `json:"jti"`
	Expires  int64    `json:"exp"`
	IssuedAt int64    `json:"iat"`
	AuthTime int64    `json:"auth_time"`
	Scopes   []string `json:"scp"`
	Groups   []string `json:"groups"`
}

// limit returns the least that any verifier must do with a token: one RS256 signature, and encoding/json on claims already decoded.
func limit(b *testing.B, token string) func() {
	head, body, sig := cut(token)
	signed, sum := []byte(head+"."+body), must(base64.RawURLEncoding.DecodeString(sig))
	payload := must(base64.RawURLEncoding.DecodeString(body))
	pub := &rsaKeys[0]().PublicKey
	return func() {
		digest := sha256.Sum256(signed)
		if err := rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sum); err != nil {
			b.Fatal(err)
		}
		var c oktaClaims
		if err := json.Unmarshal(payload, &c); err != nil || c.UID == "" {
			b.Fatal(err)
		}
	}
}

// BenchmarkColdAgainstLimit takes turns between a token never seen before and the limit, so that a busy machine slows both alike,
// and reports the medians and their ratio. Its goal is a ratio of at most 1.15.
func BenchmarkColdAgainstLimit(b *testing.B) {
	r := newRig(b)
	token := r.user()
	r.accepts(token)
	ctx, least := context.Background(), limit(b, token)
	var cold, floor []time.Duration
	for b.Loop() {
		start := time.Now()
		least()
		middle := time.Now()
		if _, err := r.v.examine(ctx, token); err != nil {
			b.Fatal(err)
		}
		cold, floor = append(cold, time.Since(middle)), append(floor, middle.Sub(start))
	}
	slices.Sort(cold)
	slices.Sort(floor)
	c, f := float64(cold[len(cold)/2]), float64(floor[len(floor)/2])
	b.ReportMetric(c, "cold-ns")
	b.ReportMetric(f, "limit-ns")
	b.ReportMetric(c/f, "ratio")
}

// BenchmarkColdLimit is the limit alone, for its allocations.
func BenchmarkColdLimit(b *testing.B) {
	least := limit(b, newRig(b).user())
	b.ReportAllocs()
	for b.Loop() {
		least()
	}
}

// BenchmarkCold is a token never seen before: the whole profile, keys known.
func BenchmarkCold(b *testing.B) {
	r := newRig(b)
	token := r.user()
	r.accepts(token)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.v.examine(ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkColdGolangJWT is golang-jwt's own parser with typed claims, for comparison.
func BenchmarkColdGolangJWT(b *testing.B) {
	r := newRig(b)
	token := r.user()
	type claims struct {
		jwt.RegisteredClaims
		UID      string   `json:"uid"`
		ClientID string   `json:"cid"`
		AuthTime int64    `json:"auth_time"`
		Scopes   []string `json:"scp"`
		Groups   []string `json:"groups"`
	}
	p := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience("api://temporal"), jwt.WithTimeFunc(r.clock))
	pub := &rsaKeys[0]().PublicKey
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.ParseWithClaims(token, &claims{}, func(*jwt.Token) (any, error) { return pub, nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProfileOnly is what the profile costs beside the signature.
func BenchmarkProfileOnly(b *testing.B) {
	r := newRig(b)
	token := r.user()
	is := r.v.issuers[r.issuer]
	b.ReportAllocs()
	for b.Loop() {
		parts, err := split(token)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := parseHeader(parts.header); err != nil {
			b.Fatal(err)
		}
		text, _ := decode(parts.payload)
		var room [32]member
		members, _ := parseObject(string(text), room[:0])
		p, err := is.readPayload(members)
		if err != nil {
			b.Fatal(err)
		}
		if err := is.judge(p, epoch, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHit is a token verified before. Its goal is well below 1 µs without an allocation.
func BenchmarkHit(b *testing.B) {
	r := newRig(b, func(c *Config) { c.Clock = time.Now })
	ctx := context.Background()
	token := ParseUnverified(r.user("iat", time.Now().Unix(), "auth_time", 1, "exp", time.Now().Unix()+3600))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.v.Verify(ctx, token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHitMany goes round 2,000 tokens from all processors, each time through a fresh copy of the token's bytes as a server would.
func BenchmarkHitMany(b *testing.B) {
	r := newRig(b, func(c *Config) { c.Clock = time.Now })
	ctx := context.Background()
	tokens := make([]Unverified, 2000)
	for i := range tokens {
		raw := r.user("iat", time.Now().Unix(), "auth_time", 1, "exp", time.Now().Unix()+3600, "jti", fmt.Sprint("AT.", i))
		r.v.Verify(ctx, ParseUnverified(raw))
		tokens[i] = ParseUnverified(strings.Clone(raw))
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := r.v.Verify(ctx, tokens[i%len(tokens)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRefused is junk that claims an unknown key, in the cooldown: what a flood costs.
func BenchmarkRefused(b *testing.B) {
	r := newRig(b)
	r.accepts(r.user())
	ctx := context.Background()
	raw := ParseUnverified(sign(object{"alg": "RS256", "kid": "k9"}, r.userClaims(epoch), rsaKeys[1]()))
	r.v.Verify(ctx, raw)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.v.Verify(ctx, raw); err == nil {
			b.Fatal("accepted")
		}
	}
}
