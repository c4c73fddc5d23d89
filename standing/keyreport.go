package standing

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"github.com/bailiwick-dev/bailiwick/identity"
)

// KeyReportPath is where control planes take key reports, below the feed's path.
const KeyReportPath = "/verifiers"

// KeyReportVersion is the integer version of reports and answers. History: 1 (2026-11) first.
const KeyReportVersion = 1

// KeyReport is what a verifier of tokens tells the control plane, again and again: that it lives, and which keys of issuers it holds. An issuer's
// keys are rotated when every verifier has the next one.
type KeyReport struct {
	Version  int                     `json:"v"`
	Verifier string                  `json:"verifier"` // the gate's name
	Issuers  []identity.IssuerStatus `json:"issuers"`
}

// KeyAnswer is what the control plane answers: when to report again, and which keys to expect.
type KeyAnswer struct {
	Version int                 `json:"v"`
	Seconds int                 `json:"seconds"`          // until the next report
	Expect  map[string][]string `json:"expect,omitempty"` // issuer → key ids
}

// Keys is whose keys are reported: an identity.Verifier.
type Keys interface {
	Status() []identity.IssuerStatus
	Expect(issuer string, kids []string)
}

// KeyReportConfig are the settings of ReportKeys. The first four fields are required.
type KeyReportConfig struct {
	URL        string                 // of the control plane's feed; reports go to KeyReportPath below it
	Token      func() (string, error) // the feed's bearer token; asked for anew with every report
	Verifier   string                 // this gate's name
	Keys       Keys                   // whose keys are reported
	HTTPClient *http.Client           // default: one with a timeout of 10 s; redirects are never followed
	Logger     *slog.Logger           // default discards
}

const (
	reportTimeout = 10 * time.Second
	reportFailed  = 10 * time.Second // until the next report after one that did not get through
	reportSlowest = 5 * time.Minute  // whatever the control plane says
	maxKeyAnswer  = 64 << 10
)

// ReportKeys reports until ctx ends. A report that does not get through changes nothing here: the gate goes on with the keys that it has, and the
// control plane rotates none without it.
func ReportKeys(ctx context.Context, cfg KeyReportConfig) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	client := http.Client{Timeout: reportTimeout}
	if cfg.HTTPClient != nil {
		client = *cfg.HTTPClient
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cfg.HTTPClient = &client
	failing := ""
	for ctx.Err() == nil {
		pause := reportFailed
		answer, err := reportOnce(ctx, cfg)
		switch {
		case err == nil:
			pause = min(max(time.Duration(answer.Seconds)*time.Second, time.Second), reportSlowest)
			for issuer, kids := range answer.Expect {
				cfg.Keys.Expect(issuer, kids)
			}
			if failing != "" {
				cfg.Logger.InfoContext(ctx, "issuers' keys are reported again")
			}
			failing = ""
		case ctx.Err() != nil:
			return
		case err.Error() != failing:
			failing = err.Error()
			cfg.Logger.WarnContext(ctx, "issuers' keys are not reported: they are not rotated until they are", "error", err)
		}
		timer := time.NewTimer(pause*9/10 + mathrand.N(pause/5))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func reportOnce(ctx context.Context, cfg KeyReportConfig) (answer KeyAnswer, err error) {
	token, err := cfg.Token()
	if err != nil {
		return answer, fmt.Errorf("reading the feed's token: %w", err)
	}
	body, err := json.Marshal(KeyReport{KeyReportVersion, cfg.Verifier, cfg.Keys.Status()})
	if err != nil {
		return answer, fmt.Errorf("encoding a key report: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, cfg.URL+KeyReportPath, bytes.NewReader(body))
	if err != nil {
		return answer, fmt.Errorf("reporting keys: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := cfg.HTTPClient.Do(req)
	if err != nil {
		return answer, fmt.Errorf("reporting keys: %w", unquoted(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("reporting keys: the control plane answered %s", resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxKeyAnswer))
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err == nil && answer.Version != KeyReportVersion {
		err = fmt.Errorf("the answer has version %d, and %d is known", answer.Version, KeyReportVersion)
	}
	if err != nil {
		return answer, fmt.Errorf("reading the answer to a key report: %w", err)
	}
	return answer, nil
}
