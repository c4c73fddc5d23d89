package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// chromium is the path of a Chromium or one of its relatives.
type chromium string

// findChromium looks for the browsers that can print without a screen.
func findChromium() (chromium, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return chromium(path), nil
		}
	}
	return "", errors.New("no Chromium on PATH; open index.html and print it")
}

// print prints a page of our own making, which holds no scripts and may fetch nothing, to a PDF.
func (c chromium) print(ctx context.Context, page, pdf string) error {
	page, err := filepath.Abs(page)
	if err != nil {
		return err
	}
	if pdf, err = filepath.Abs(pdf); err != nil {
		return err
	}
	profile, err := os.MkdirTemp("", "bailiwick-pdf-")
	if err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	defer func() { _ = os.RemoveAll(profile) }()
	args := []string{"--headless=new", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + profile, "--no-pdf-header-footer", "--print-to-pdf=" + pdf}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // its sandbox refuses to run as root
	}
	cmd := exec.CommandContext(ctx, string(c), append(args, (&url.URL{Scheme: "file", Path: filepath.ToSlash(page)}).String())...)
	cmd.Env = append(os.Environ(), "HOME="+profile)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("printing the report with %s: %w: %s", c, err, lines[len(lines)-1])
	}
	if info, err := os.Stat(pdf); err != nil || info.Size() == 0 {
		return fmt.Errorf("printing the report with %s: it wrote nothing", c)
	}
	return nil
}
