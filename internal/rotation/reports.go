package rotation

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"

	"github.com/bailiwick-dev/bailiwick/standing"
)

const (
	maxReport  = 256 << 10 // bytes
	maxIssuers = 64
)

// verifierName is a gate's name as the feed takes it.
var verifierName = regexp.MustCompile(`^[\pL\pN][\pL\pN ._:@/-]{0,127}$`)

// Reports takes what verifiers report (standing.KeyReport). Whoever mounts it lets only gates through. A verifier's name is its own word.
func (r *Registry) Reports() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		report, wrong := readReport(req)
		if wrong != "" {
			problem(w, &Refusal{Status: http.StatusBadRequest, Code: "bad_request", Detail: wrong, Next: "report as this control plane's version of the gate does"})
			return
		}
		answer, err := r.Take(req.Context(), report)
		if err != nil {
			if req.Context().Err() == nil {
				r.cfg.Logger.ErrorContext(req.Context(), "a verifier's report was not taken", "verifier", report.Verifier, "error", err)
			}
			var f *Fault
			if errors.As(err, &f) {
				problem(w, &Refusal{Status: http.StatusTooManyRequests, Code: f.Code, Detail: f.Detail, Next: f.Next})
				return
			}
			problem(w, &Refusal{Status: http.StatusServiceUnavailable, Code: "reports_unavailable", Detail: "the report can't be kept now", Next: "report again"})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func readReport(req *http.Request) (report standing.KeyReport, wrong string) {
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return report, "the body must be application/json"
	}
	raw, err := io.ReadAll(io.LimitReader(req.Body, maxReport+1))
	switch {
	case err != nil:
		return report, "the report can't be read"
	case len(raw) > maxReport:
		return report, "the report is too large"
	case json.Unmarshal(raw, &report) != nil:
		return report, "the report is not JSON of the right form"
	case report.Version != standing.KeyReportVersion:
		return report, "the report is of another version"
	case !verifierName.MatchString(report.Verifier):
		return report, "verifier is no name"
	case len(report.Issuers) == 0 || len(report.Issuers) > maxIssuers:
		return report, "issuers must name 1 to 64"
	}
	return report, ""
}
