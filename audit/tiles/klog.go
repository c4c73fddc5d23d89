package tiles

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// Tessera logs by klog, which is global to the process and may be redirected only while nobody logs. So it is redirected once, to a
// handler that passes on to the logger of the sealer started last. These two are the only globals of ours, and exist for that.
var (
	klogOnce   sync.Once
	klogTarget atomic.Pointer[slog.Logger]
)

func redirectKlog(l *slog.Logger) {
	klogTarget.Store(l)
	klogOnce.Do(func() { klog.SetSlogLogger(slog.New(klogHandler{})) })
}

// klogHandler demotes by one level: Tessera reports its ordinary doings as information, and what it will try again as warnings.
type klogHandler struct{}

func (klogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return klogTarget.Load().Enabled(ctx, demoted(level))
}

func (klogHandler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, demoted(r.Level), "tessera", r.PC)
	out.AddAttrs(slog.String("message", r.Message))
	r.Attrs(func(a slog.Attr) bool { out.AddAttrs(a); return true })
	return klogTarget.Load().Handler().Handle(ctx, out)
}

func (h klogHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h klogHandler) WithGroup(string) slog.Handler      { return h }

func demoted(level slog.Level) slog.Level {
	if level >= slog.LevelError {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}
