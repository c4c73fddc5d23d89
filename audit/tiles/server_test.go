package tiles

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// served serves a log below /log/, entries for the token "reader".
func served(t testing.TB, dir string) string {
	t.Helper()
	h := NewServer(ServerConfig{Log: dir, Entries: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer reader" {
			return true
		}
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}})
	mux := http.NewServeMux()
	mux.Handle("GET /log/", http.StripPrefix("/log", h))
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/log"
}

// reader adds the token, and serves as a tile reader of x/mod's tlog by the layout of C2SP's tlog-tiles.
type reader struct {
	base string
	ctx  context.Context
}

func (r reader) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer reader")
	return http.DefaultTransport.RoundTrip(req)
}

func (reader) Height() int                         { return 8 }
func (reader) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		status, data, _, err := r.get(torchwood.TilePath(t), true)
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("%d %w", status, err)
		}
		all = append(all, data)
	}
	return all, nil
}

func (r reader) get(path string, token bool) (int, []byte, http.Header, error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.base+"/"+path, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	client := http.DefaultClient
	if token {
		client = &http.Client{Transport: r}
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, data, resp.Header, err
}

// A log of two gates, read over HTTP and verified by two independent clients: x/mod's tlog, and torchwood, which is the client of a public log
// ecosystem. Neither has seen a line of ours.
func TestIndependentClients(t *testing.T) {
	l := newSeveral(t)
	record(t, l.journal, "a", 0, 500, 0)
	record(t, l.second, "b", 0, 200, 0)
	l.seal(t, 700)
	base := served(t, l.log)
	r := reader{base, t.Context()}

	_, msg, _, err := r.get("checkpoint", false)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(l.verifier)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := torchwood.VerifyCheckpoint(msg, torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v)))
	if err != nil || c.N != 700 {
		t.Fatalf("torchwood reads the checkpoint: %+v %v", c, err)
	}
	fetcher, err := torchwood.NewTileFetcher(base, torchwood.WithHTTPClient(&http.Client{Transport: r}))
	if err != nil {
		t.Fatal(err)
	}
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int64][]byte{}
	for rec, err := range Scan(t.Context(), ScanConfig{Log: l.log}) {
		if err != nil {
			t.Fatal(err)
		}
		want[int64(rec.Index)] = rec.Raw
	}
	n := 0
	for i, raw := range client.AllEntries(t.Context(), c.Tree, 0) {
		if !bytes.Equal(raw, want[i]) {
			t.Fatalf("entry %d: %s", i, raw)
		}
		n++
	}
	if err := client.Err(); err != nil || n != 700 {
		t.Errorf("torchwood read %d entries: %v", n, err)
	}
	raw, proof, err := client.Entry(t.Context(), c.Tree, 333)
	if err != nil || tlog.CheckRecord(proof, c.N, c.Hash, 333, tlog.RecordHash(raw)) != nil {
		t.Errorf("torchwood's proof: %v", err)
	}

	hashes := tlog.TileHashReader(tlog.Tree{N: c.N, Hash: c.Hash}, r)
	for i, raw := range want {
		proof, err := tlog.ProveRecord(c.N, i, hashes)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, c.N, c.Hash, i, tlog.RecordHash(raw)); err != nil {
			t.Errorf("tlog: entry %d: %v", i, err)
		}
	}
	tree, err := tlog.ProveTree(c.N, 300, hashes)
	if err != nil {
		t.Fatal(err)
	}
	old := l.rootOf(t, 300)
	if err := tlog.CheckTree(tree, c.N, c.Hash, 300, old); err != nil {
		t.Errorf("tlog: consistency: %v", err)
	}
}

func TestServer(t *testing.T) {
	l := newLog(t)
	enqueue(t, l.journal, 0, 600)
	l.seal(t, 600)
	r := reader{served(t, l.log), t.Context()}
	get := func(path string, token bool) (int, []byte, http.Header) {
		t.Helper()
		status, data, header, err := r.get(path, token)
		if err != nil {
			t.Fatal(err)
		}
		return status, data, header
	}
	status, _, h := get("checkpoint", false)
	if status != 200 || h.Get("Content-Type") != "text/plain; charset=utf-8" || h.Get("Cache-Control") != "no-cache" {
		t.Errorf("checkpoint: %d %v", status, h)
	}
	for path, size := range map[string]int{"tile/0/000": 256 * 32, "tile/0/001": 256 * 32, "tile/0/002.p/88": 88 * 32, "tile/0/002.p/7": 7 * 32, "tile/1/000.p/2": 64, "tile/0/000.p/10": 320} {
		status, data, h := get(path, false)
		if path == "tile/0/002.p/7" { // never written, and there is no full one to cut it from
			if status != 404 {
				t.Errorf("%s: %d", path, status)
			}
			continue
		}
		if status != 200 || len(data) != size || h.Get("Content-Type") != "application/octet-stream" || h.Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: %d, %d bytes, %v", path, status, len(data), h)
		}
	}
	// Entries are personal data: for those who may, and for no shared cache.
	if status, data, h := get("tile/entries/000", false); status != 401 || len(data) > 0 {
		t.Errorf("entries for everybody: %d %v", status, h)
	}
	status, data, h := get("tile/entries/000.p/3", true)
	if status != 200 || bytes.Count(data, []byte(`{"v":1,`)) != 3 || !strings.HasPrefix(h.Get("Cache-Control"), "private") {
		t.Errorf("entries: %d %q %v", status, data, h)
	}
	for _, path := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/0", "tile/0/0000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/07", "tile/0/003", "tile/0/002", "tile/0/002.p/89", "tile/1/001",
		"tile/2/000.p/1", "tile/-1/000", "tile/data/000", "tile/63/000", "tile/0/x001/000", "tile/0/..%2f..%2f..%2fkey", "tile/entries/..%2f..%2f..%2forder.json",
		"order.json", ".state/treeState", "sealer.lock", "checkpoint/", "checkpoint.witnessed", "tile/0/000/", "tile/entries/003", "tile/entries/002.p/89", "tile/8/0/000",
	} {
		if status, data, _ := get(path, true); status != 404 {
			t.Errorf("%q: %d %.40q", path, status, data)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		req, _ := http.NewRequestWithContext(t.Context(), method, r.base+"/checkpoint", nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
	// What is integrated and not published is not shown.
	rollback, err := os.ReadFile(filepath.Join(l.log, checkpointName))
	if err != nil {
		t.Fatal(err)
	}
	l.sign(t, l.signer, origin, 300, l.rootOf(t, 300))
	if status, _, _ := get("tile/0/001", false); status != 404 {
		t.Errorf("beyond the checkpoint: %d", status)
	}
	if status, data, _ := get("tile/0/001.p/44", false); status != 200 || len(data) != 44*32 {
		t.Errorf("cut from the full tile: %d", status)
	}
	write(t, filepath.Join(l.log, checkpointName), rollback)
}
