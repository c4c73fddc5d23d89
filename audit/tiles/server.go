package tiles

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// ServerConfig are the settings of the published log.
type ServerConfig struct {
	Log string // the log's directory
	// Entries says whether the request may read entries, which hold personal data. Checkpoints and hash tiles hold none and are for everybody:
	// whoever has an entry can prove it with them. When it returns false it has answered the request. nil: nobody reads entries here.
	Entries func(w http.ResponseWriter, r *http.Request) bool
	Logger  *slog.Logger // default discards
}

// NewServer serves a log's directory as static tiles by https://c2sp.org/tlog-tiles: checkpoint, tile/L/N[.p/W] and tile/entries/N[.p/W],
// below wherever it is mounted with http.StripPrefix. It reads only, and only what is under the published checkpoint; a partial tile that
// has been removed is cut from the full one.
//
// Besides, checkpoint.witnessed is the newest checkpoint with the cosignatures of enough witnesses, when there are any, and key-history.json proves
// how the log's keys follow from each other, when it has had more than one.
func NewServer(cfg ServerConfig) http.Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &server{cfg: cfg, log: logDir(cfg.Log)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /checkpoint", func(w http.ResponseWriter, r *http.Request) { s.checkpoint(w, r, checkpointName) })
	mux.HandleFunc("GET /"+witnessedName, func(w http.ResponseWriter, r *http.Request) { s.checkpoint(w, r, witnessedName) })
	mux.HandleFunc("GET /"+HistoryName, func(w http.ResponseWriter, r *http.Request) { s.checkpoint(w, r, HistoryName) })
	mux.HandleFunc("GET /tile/{path...}", s.tile)
	return mux
}

type server struct {
	cfg ServerConfig
	log logDir
}

func (s *server) checkpoint(w http.ResponseWriter, r *http.Request, name string) {
	msg, err := os.ReadFile(filepath.Join(s.cfg.Log, name))
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "there is no "+name+" yet", http.StatusNotFound)
		return
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if name == HistoryName {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Cache-Control", "no-cache") // a stale one hides what came since
	_, _ = w.Write(msg)
}

// tile serves one tile. Its bytes never change, so they may be kept for ever: hash tiles by any cache, entries only by the client's own.
func (s *server) tile(w http.ResponseWriter, r *http.Request) {
	t, err := parseTile(r.PathValue("path"))
	if err != nil {
		http.Error(w, "not the path of a tile", http.StatusNotFound)
		return
	}
	caching := "public, max-age=31536000, immutable"
	if t.L == entriesLevel {
		if s.cfg.Entries == nil {
			http.Error(w, "entries hold personal data and are not read here", http.StatusForbidden)
			return
		}
		if !s.cfg.Entries(w, r) {
			return
		}
		caching = "private, max-age=31536000, immutable"
	}
	size, err := SealedSize(s.cfg.Log)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	if !within(t, size) {
		http.Error(w, "not under the checkpoint", http.StatusNotFound)
		return
	}
	data, stored, err := s.log.read(t.L, uint64(t.N), t.W)
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "no such tile", http.StatusNotFound)
		return
	}
	if err == nil && stored != t.W {
		data, err = cutTile(t, data)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", caching)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

func (s *server) failed(w http.ResponseWriter, r *http.Request, err error) {
	s.cfg.Logger.ErrorContext(r.Context(), "log can't be read", "path", r.URL.Path, "error", err)
	http.Error(w, "the log can't be read", http.StatusInternalServerError)
}

// parseTile reads L/N[.p/W] or entries/N[.p/W], in exactly the form of the specification.
func parseTile(path string) (tlog.Tile, error) {
	if level, rest, ok := strings.Cut(path, "/"); ok {
		switch level {
		case "entries":
			path = "data/" + rest
		case "data":
			return tlog.Tile{}, errors.New("tlog's own name for entries")
		}
	}
	t, err := tlog.ParseTilePath("tile/" + strconv.Itoa(tileHeight) + "/" + path)
	if err != nil {
		return tlog.Tile{}, err
	}
	if t.L > 63/tileHeight+1 {
		return tlog.Tile{}, errors.New("no tree is that high")
	}
	return t, nil
}

// within reports whether a tree of that size has the tile.
func within(t tlog.Tile, size uint64) bool {
	has := size >> (tileHeight * max(t.L, 0)) // hashes (or entries) at that level
	return uint64(t.N) < has/tileWidth+1 && uint64(t.N)*tileWidth+uint64(t.W) <= has
}

// cutTile cuts the partial tile from the full one's bytes.
func cutTile(t tlog.Tile, data []byte) ([]byte, error) {
	if t.L != entriesLevel {
		if len(data) < t.W*tlog.HashSize {
			return nil, errors.New("full tile is too short")
		}
		return data[:t.W*tlog.HashSize], nil
	}
	rest := data
	for range t.W {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, errors.New("full bundle is too short")
		}
		rest = rest[2+int(binary.BigEndian.Uint16(rest)):]
	}
	return data[:len(data)-len(rest)], nil
}
