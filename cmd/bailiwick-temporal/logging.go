package main

import (
	"context"
	"log/slog"
	"strings"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

// serverLog is the server's logger over slog.
type serverLog struct {
	to   *slog.Logger
	exit func(code int) // ends the process after a fatal error; the server cannot go on
}

var (
	_ log.Logger      = serverLog{}
	_ log.WithLogger  = serverLog{}
	_ log.SLogWrapper = serverLog{}
)

func (l serverLog) Debug(msg string, tags ...tag.Tag) { l.log(slog.LevelDebug, msg, tags) }
func (l serverLog) Info(msg string, tags ...tag.Tag)  { l.log(slog.LevelInfo, msg, tags) }
func (l serverLog) Warn(msg string, tags ...tag.Tag)  { l.log(lowered(slog.LevelWarn, msg), msg, tags) }
func (l serverLog) Error(msg string, tags ...tag.Tag) {
	l.log(lowered(slog.LevelError, msg), msg, tags)
}

// lowered makes debug lines of what the server reports louder than it is here.
func lowered(level slog.Level, msg string) slog.Level {
	switch {
	case msg == "Authorization error": // each refused call: the gate has recorded the refusal, and anybody can cause one
		return slog.LevelDebug
	case strings.HasPrefix(msg, "HTTP API port has not been set."): // the internal-frontend's, on purpose (see serverConfig)
		return slog.LevelDebug
	case msg == "error from matching when initializing Nexus endpoint cache": // the internal-frontend starts before matching, and asks again
		return slog.LevelWarn
	}
	return level
}

// DPanic is an error in production, as zap has it.
func (l serverLog) DPanic(msg string, tags ...tag.Tag) { l.log(slog.LevelError, msg, tags) }

// Panic logs and panics, as the server expects.
func (l serverLog) Panic(msg string, tags ...tag.Tag) {
	l.log(slog.LevelError, msg, tags)
	panic(msg)
}

// Fatal logs and ends the process. The journal has fsynced what it acknowledged, so nothing is lost.
func (l serverLog) Fatal(msg string, tags ...tag.Tag) {
	l.log(slog.LevelError, msg, append(tags, tag.Bool("fatal", true)))
	l.exit(1)
}

func (l serverLog) With(tags ...tag.Tag) log.Logger {
	attrs := make([]any, 0, len(tags))
	for _, t := range tags {
		attrs = append(attrs, slog.Any(t.Key(), t.Value()))
	}
	return serverLog{l.to.With(attrs...), l.exit}
}

// SLog lets parts of the server that speak slog themselves write here directly.
func (l serverLog) SLog() *slog.Logger { return l.to }

func (l serverLog) log(level slog.Level, msg string, tags []tag.Tag) {
	ctx := context.Background() // the server's logger has no context
	if !l.to.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, len(tags))
	for _, t := range tags {
		attrs = append(attrs, slog.Any(t.Key(), t.Value()))
	}
	l.to.LogAttrs(ctx, level, msg, attrs...)
}
