package main

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"k8s.io/klog/v2"
)

// mostVerbose is far above any verbosity that means something.
const mostVerbose = 100

// verbosity is how much is logged, which can be changed while the process runs.
type verbosity struct {
	level klog.Level
	json  slog.LevelVar
}

// setUpLogging turns the flags into klog's settings. JSON lines come from the standard library's handler.
func setUpLogging(cfg Config) (*verbosity, error) {
	v := &verbosity{}
	if err := v.Set(strconv.Itoa(cfg.Verbosity)); err != nil {
		return nil, fmt.Errorf("-v: %w", err)
	}
	if cfg.LoggingFormat == "json" {
		klog.SetSlogLogger(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: &v.json})))
	}
	return v, nil
}

// Set changes the verbosity.
func (v *verbosity) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > mostVerbose {
		return fmt.Errorf("the verbosity %q is not a number from 0 to %d", text, mostVerbose)
	}
	v.json.Set(slog.Level(-n))
	return v.level.Set(text)
}
