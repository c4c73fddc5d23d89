package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ConflictError is a witness's answer that the last checkpoint that it signed has another size than was stated.
type ConflictError struct{ Size uint64 }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("the witness has the log at size %d", e.Size)
}

// Ask asks the witness at url (its submission prefix) to cosign a checkpoint, which extends by the proof one of the size old. It returns the
// signature lines that verify with the witness's key. The error is a *ConflictError when the witness has another size.
func Ask(ctx context.Context, client *http.Client, url string, v *Verifier, old uint64, proof []tlog.Hash, checkpoint []byte) (lines string, err error) {
	body := request{old: old, proof: proof, note: checkpoint}.marshal()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(url, "/")+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("asking witness: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking witness: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	if err != nil {
		return "", fmt.Errorf("asking witness: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusConflict:
		size, err := strconv.ParseUint(strings.TrimSuffix(string(answer), "\n"), 10, 62)
		if err != nil {
			return "", errors.New("asking witness: it has another size, and does not say which")
		}
		return "", fmt.Errorf("asking witness: %w", &ConflictError{size})
	default:
		return "", fmt.Errorf("asking witness: it answered %s: %.200q", resp.Status, answer)
	}
	text, _, ok := strings.Cut(string(checkpoint), "\n\n")
	if !ok {
		return "", errors.New("asking witness: the checkpoint is not a signed note")
	}
	n, err := note.Open([]byte(text+"\n\n"+string(answer)), note.VerifierList(v))
	if err != nil {
		return "", fmt.Errorf("asking witness: its answer does not verify with its key: %w", err)
	}
	for _, sig := range n.Sigs {
		lines += fmt.Sprintf("— %s %s\n", sig.Name, sig.Base64)
	}
	return lines, nil
}
