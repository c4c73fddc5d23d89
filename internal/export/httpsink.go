package export

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Headers of a batch.
const (
	SignatureHeader = "Bailiwick-Signature" // t=UNIX,v1=HEX: HMAC-SHA256 by the shared secret over the digits of t, a full stop and the body as sent
	BatchHeader     = "Bailiwick-Batch"     // FIRST-LAST: indexes of the first and the last entry
)

// SignatureVersion is the version of the signature's form. History: v1 (2026-11) first.
const SignatureVersion = "v1"

// Sign returns the value of SignatureHeader for a body as it is sent, after compression.
func Sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + "," + SignatureVersion + "=" + hex.EncodeToString(signature(secret, t, body))
}

func signature(secret, t string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// VerifySignature is what a receiver does: it checks the signature and that it is not older or newer than tolerance.
func VerifySignature(secret, header string, body []byte, now time.Time, tolerance time.Duration) error {
	stamp, mac, ok := strings.Cut(header, ","+SignatureVersion+"=")
	t, isTime := strings.CutPrefix(stamp, "t=")
	seconds, err := strconv.ParseInt(t, 10, 64)
	have, herr := hex.DecodeString(mac)
	if !ok || !isTime || err != nil || herr != nil {
		return errors.New("the signature has not the form t=UNIX,v1=HEX")
	}
	if !hmac.Equal(have, signature(secret, t, body)) {
		return errors.New("the signature is not of this body and secret")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return fmt.Errorf("the signature is %v old", age)
	}
	return nil
}

// httpSink posts batches.
type httpSink struct {
	name   string
	cfg    HTTPConfig
	client *http.Client
}

func newHTTPSink(name string, cfg HTTPConfig) (*httpSink, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, errors.New("reading the receiver's URL") // the error could repeat a secret in it
	}
	c, err := client(u.Hostname(), cfg.TLS, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	return &httpSink{name: name, cfg: cfg, client: c}, nil
}

// Send implements Sink.
func (s *httpSink) Send(ctx context.Context, batch []Message) error {
	body, kind := s.body(batch)
	req, err := newRequest(ctx, s.cfg.URL, body, kind, s.cfg.Gzip, s.cfg.Headers)
	if err != nil {
		return err
	}
	token, err := readSecret(s.cfg.TokenFile)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", map[string]string{"splunk": "Splunk ", "elastic": "ApiKey "}[s.cfg.Shape]+token)
		if s.cfg.Shape != "splunk" && s.cfg.Shape != "elastic" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	span := fmt.Sprintf("%d-%d", batch[0].Index, batch[len(batch)-1].Index)
	req.Header.Set(BatchHeader, span)
	req.Header.Set("Idempotency-Key", s.name+"-"+span+"-"+strconv.Itoa(len(batch)))
	secret, err := readSecret(s.cfg.SecretFile)
	if err != nil {
		return err
	}
	if secret != "" {
		if len(secret) < 16 {
			return fmt.Errorf("reading a secret: %s is shorter than 16 bytes: %w", s.cfg.SecretFile, errHold)
		}
		sent, err := req.GetBody()
		if err != nil {
			return err
		}
		raw, err := io.ReadAll(sent)
		if err != nil {
			return err
		}
		req.Header.Set(SignatureHeader, Sign(secret, time.Now(), raw))
	}
	answer, err := exchange(s.client, req)
	if err != nil {
		return err
	}
	if s.cfg.Shape == "elastic" {
		return bulkAnswer(answer, len(batch))
	}
	return nil
}

// newRequest makes a POST, compressed when asked for.
func newRequest(ctx context.Context, to string, body []byte, kind string, compress bool, headers map[string]string) (*http.Request, error) {
	if compress {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(body) // a buffer takes everything
		_ = z.Close()
		body = b.Bytes()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("making a request: the URL is not one")
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("User-Agent", "bailiwick-export")
	if compress {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

// maxAnswer bounds how much of a receiver's answer is read.
const maxAnswer = 4 << 20

// exchange sends a request and judges the answer's status.
func exchange(c *http.Client, req *http.Request) ([]byte, error) {
	resp, err := c.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the rest of it is the URL, which may hold a key in its query
		}
		return nil, fmt.Errorf("sending a batch: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		if err != nil {
			return nil, fmt.Errorf("reading the receiver's answer: %w", err)
		}
		return answer, nil
	}
	return nil, judge(resp, answer)
}

// judge makes an error of an answer that is not 2xx.
//
// 400, 413, 415 and 422 are about what was sent: the batch is divided until the messages at fault are found. 408, 425, 429 and 5xx pass.
// Everything else (no permission, wrong address, a redirect) is for the operator to mend: nothing is given up for it.
func judge(resp *http.Response, answer []byte) error {
	code := "http_" + strconv.Itoa(resp.StatusCode)
	said := clip(string(answer[:min(len(answer), 300)]))
	switch s := resp.StatusCode; {
	case s == 400 || s == 413 || s == 415 || s == 422:
		return &batchRefused{Code: code, Text: said}
	case s == 408 || s == 425 || s == 429 || s >= 500:
		err := fmt.Errorf("the receiver answered %d: %s", s, said)
		if after := retryAfter(resp.Header.Get("Retry-After"), time.Now()); after > 0 {
			return &later{after: after, err: err}
		}
		return err
	case s/100 == 3:
		return fmt.Errorf("the receiver answered %d, a redirect, which is not followed: %w", s, errHold)
	default:
		return fmt.Errorf("the receiver answered %d: %s: %w", s, said, errHold)
	}
}

// retryAfter reads the header of RFC 9110 section 10.2.3: seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now)
	}
	return 0
}

// Close implements Sink.
func (s *httpSink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
