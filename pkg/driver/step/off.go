//go:build !faultpoints

package step

import "context"

// Enabled reports whether this build can be stopped at steps.
const Enabled = false

// SetDir names the directory of stop files. It has no effect in this build.
func SetDir(string) {}

// Dir is the directory of stop files, "" in this build.
func Dir() string { return "" }

// Wanted reports whether somebody wants to stop the process at the step.
func Wanted(Name) bool { return false }

// At is called right before a step is taken.
func At(context.Context, Name) error { return nil }
