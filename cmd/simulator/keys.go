package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

// keyLook is how often the file with the keys is looked at.
const keyLook = time.Second

var errNoKeys = errors.New("the file has no key: without one every key would be accepted")

// readKeys reads one key per line; blank lines and those that begin with # do not count.
func readKeys(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []string
	for line := range strings.Lines(string(text)) {
		if key := strings.TrimSpace(line); key != "" && !strings.HasPrefix(key, "#") {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

// followKeys tells of new keys until ctx ends. A file that cannot be used changes nothing.
func followKeys(ctx context.Context, path string, keys []string, set func([]string)) {
	ticker := time.NewTicker(keyLook)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := readKeys(path)
		switch {
		case err != nil:
			if !failing {
				klog.FromContext(ctx).Error(err, "The API keys cannot be reloaded, the previous ones stay valid", "file", path)
			}
			failing = true
		case !slices.Equal(now, keys):
			keys, failing = now, false
			set(keys)
			klog.FromContext(ctx).Info("Reloaded the API keys", "file", path, "keys", len(keys))
		default:
			failing = false
		}
	}
}
