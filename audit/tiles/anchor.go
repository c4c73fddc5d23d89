package tiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bailiwick-dev/bailiwick/internal/durable"
)

// Anchor is a place that the log's operator can't write alone, where checkpoints are kept: a log that is rewritten later contradicts it.
// It is one of
//
//	FILE         checkpoints are appended, an empty line after each
//	git:DIR      a git repository; each checkpoint is a commit of the file "checkpoint", which is pushed when there is a remote
//	http(s)://…  each checkpoint is sent by POST, and all are read by GET in the form of the file
type Anchor string

// file is the path of an anchor that is a file; "file:" before it may be left out.
func (a Anchor) file() string { return strings.TrimPrefix(string(a), "file:") }

// maxAnchored bounds what is read of an anchor, in bytes, and how many commits.
const (
	maxAnchored = 16 << 20
	maxCommits  = 1000
)

// AnchorConfig are the settings of RunAnchoring.
type AnchorConfig struct {
	Log      string // the log's directory
	Anchors  []Anchor
	Interval time.Duration          // at most one checkpoint so often; default 10 minutes
	Token    func() (string, error) // bearer token for HTTP anchors; nil: none
	Client   *http.Client           // default one with a timeout of 10 s
	Logger   *slog.Logger           // default discards
}

// RunAnchoring puts the log's checkpoint, cosigned if it is, to the anchors until ctx ends. One that fails is tried again with the next.
func RunAnchoring(ctx context.Context, cfg AnchorConfig) error {
	if cfg.Interval <= 0 {
		cfg.Interval = 10 * time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Log == "" || len(cfg.Anchors) == 0 {
		return errors.New("starting to anchor: it needs a log and a place")
	}
	last := make([]string, len(cfg.Anchors))
	for {
		for i, a := range cfg.Anchors {
			msg, err := AnchorOnce(ctx, cfg, a, last[i])
			if err != nil && ctx.Err() == nil {
				cfg.Logger.ErrorContext(ctx, "checkpoint is not anchored; trying again with the next", "anchor", string(a), "error", err)
				continue
			}
			last[i] = msg
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(cfg.Interval):
		}
	}
}

// AnchorOnce puts the newest checkpoint to one anchor, unless it is the last one put there, and returns it.
func AnchorOnce(ctx context.Context, cfg AnchorConfig, a Anchor, last string) (string, error) {
	msg, err := os.ReadFile(filepath.Join(cfg.Log, witnessedName))
	if errors.Is(err, fs.ErrNotExist) {
		msg, err = os.ReadFile(filepath.Join(cfg.Log, checkpointName))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return last, nil
	}
	if err != nil {
		return last, fmt.Errorf("anchoring: %w", err)
	}
	if string(msg) == last {
		return last, nil
	}
	switch dir, isGit := strings.CutPrefix(string(a), "git:"); {
	case isGit:
		err = commitCheckpoint(ctx, dir, msg)
	case a.isURL():
		err = postCheckpoint(ctx, cfg, string(a), msg)
	default:
		err = appendCheckpoint(a.file(), msg)
	}
	if err != nil {
		return last, fmt.Errorf("anchoring: %w", err)
	}
	return string(msg), nil
}

func (a Anchor) isURL() bool {
	return strings.HasPrefix(string(a), "https://") || strings.HasPrefix(string(a), "http://")
}

// appendCheckpoint adds to a file. A crash in the middle leaves a part of a checkpoint at its end, which the next one replaces.
func appendCheckpoint(path string, msg []byte) error {
	have, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	notes, whole := splitNotes(have)
	if len(notes) > 0 && bytes.Equal(notes[len(notes)-1], msg) {
		return nil
	}
	if whole < len(have) {
		if err := durable.WriteFile(path, have[:whole], 0o644); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(bytes.Clone(msg), '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// splitNotes takes notes apart that follow each other, and says how many bytes are whole notes. A last one without an empty line behind it
// counts when it ends with a line.
func splitNotes(data []byte) (notes [][]byte, whole int) {
	for whole < len(data) {
		text := bytes.Index(data[whole:], []byte("\n\n"))
		if text < 0 {
			return notes, whole
		}
		sigs := bytes.Index(data[whole+text+2:], []byte("\n\n"))
		end := len(data)
		switch {
		case sigs >= 0:
			end = whole + text + 2 + sigs + 1
		case data[len(data)-1] != '\n':
			return notes, whole
		}
		notes = append(notes, data[whole:end])
		whole = min(end+1, len(data))
	}
	return notes, whole
}

func git(ctx context.Context, dir string, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "user.name=bailiwick", "-c", "user.email=bailiwick@localhost", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// commitCheckpoint makes a commit, and pushes it when there is a remote.
func commitCheckpoint(ctx context.Context, dir string, msg []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, ".git")); errors.Is(err, fs.ErrNotExist) {
		if _, err := git(ctx, dir, nil, "init", "-q"); err != nil {
			return err
		}
	}
	if err := durable.WriteFile(filepath.Join(dir, checkpointName), msg, 0o644); err != nil {
		return err
	}
	if _, err := git(ctx, dir, nil, "add", "--", checkpointName); err != nil {
		return err
	}
	if changed, err := git(ctx, dir, nil, "status", "--porcelain", "--", checkpointName); err != nil {
		return err
	} else if len(changed) > 0 {
		lines := strings.SplitN(string(msg), "\n", 3)
		if len(lines) < 3 {
			return errors.New("not a checkpoint")
		}
		if _, err := git(ctx, dir, nil, "commit", "-q", "-m", fmt.Sprintf("%s: %s entries", lines[0], lines[1]), "--", checkpointName); err != nil {
			return err
		}
	}
	remotes, err := git(ctx, dir, nil, "remote")
	if err != nil || len(remotes) == 0 {
		return err
	}
	_, err = git(ctx, dir, nil, "push", "-q", strings.Fields(string(remotes))[0], "HEAD")
	return err
}

func postCheckpoint(ctx context.Context, cfg AnchorConfig, to string, msg []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(msg))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := call(cfg, req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", to, resp.Status)
	}
	return nil
}

func call(cfg AnchorConfig, req *http.Request) (*http.Response, error) {
	if cfg.Token != nil {
		token, err := cfg.Token()
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := cfg.Client
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second}
	}
	return client.Do(req)
}

// ReadAnchor returns the checkpoints that an anchor has, as signed notes, unverified.
func ReadAnchor(ctx context.Context, cfg AnchorConfig, a Anchor) ([][]byte, error) {
	var data []byte
	var err error
	switch dir, isGit := strings.CutPrefix(string(a), "git:"); {
	case isGit:
		data, err = readCommits(ctx, dir)
	case a.isURL():
		data, err = getCheckpoints(ctx, cfg, string(a))
	default:
		data, err = os.ReadFile(a.file())
	}
	if err != nil {
		return nil, fmt.Errorf("reading anchored checkpoints: %w", err)
	}
	notes, _ := splitNotes(data)
	if len(notes) == 0 {
		return nil, fmt.Errorf("reading anchored checkpoints: there is none in %s", redacted(a))
	}
	return notes, nil
}

// redacted is an anchor without what its URL may hold of credentials.
func redacted(a Anchor) string {
	if u, err := url.Parse(string(a)); a.isURL() && err == nil {
		return u.Redacted()
	}
	return string(a)
}

func readCommits(ctx context.Context, dir string) ([]byte, error) {
	list, err := git(ctx, dir, nil, "log", fmt.Sprintf("-%d", maxCommits), "--format=%H:"+checkpointName, "--diff-filter=AM", "--", checkpointName)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, name := range strings.Fields(string(list)) {
		msg, err := git(ctx, dir, nil, "cat-file", "blob", name)
		if err != nil {
			return nil, err
		}
		all = append(append(all, msg...), '\n')
	}
	return all, nil
}

func getCheckpoints(ctx context.Context, cfg AnchorConfig, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := call(cfg, req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxAnchored))
}

// anchored opens checkpoints with the log's keys; those of other logs are passed over, and those that none of them signed are not believed.
func anchored(notes [][]byte, keys logKeys) (mine []checkpoint, unsigned int) {
	for _, msg := range notes {
		c, code, _ := openCheckpoint(msg, keys)
		switch code {
		case "":
			mine = append(mine, c)
		case CodeCheckpointOrigin:
		default:
			unsigned++
		}
	}
	return mine, unsigned
}
