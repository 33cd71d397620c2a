package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func noEnv(string) string { return "" }

func TestValidate(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdefghij"), 0o600); err != nil {
		t.Fatal(err)
	}
	node := []string{
		"--mode=node", "--device-dir=" + dir, "--sysfs-block-dir=" + dir, "--state-dir=" + dir, "--kubelet-root=" + dir, "--plugin-registration-dir=" + dir,
	}
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		// faults has a text for each line that must come, none for a valid configuration.
		faults []string
	}{
		"controller":               {args: []string{"--mode=controller", "--api-key-file=" + key}},
		"key from the environment": {args: []string{"--mode=controller", "--api-key-file=/none"}, env: map[string]string{"VULTR_API_KEY": "k"}},
		"a small share":            {args: []string{"--mode=controller", "--api-key-file=" + key, "--api-start-rate=0.5", "--api-max-rate=1"}},
		"the whole of it":          {args: []string{"--mode=controller", "--api-key-file=" + key, "--api-start-rate=30", "--api-max-rate=30"}},
		"more than there is":       {args: []string{"--mode=controller", "--api-key-file=" + key, "--api-max-rate=31"}, faults: []string{"--api-max-rate"}},
		"no rate":                  {args: []string{"--mode=controller", "--api-key-file=" + key, "--api-start-rate=0"}, faults: []string{"--api-start-rate"}},
		"a rate that is none":      {args: []string{"--mode=controller", "--api-key-file=" + key, "--api-max-rate=NaN"}, faults: []string{"--api-max-rate"}},
		"node":                     {args: node},
		"node without registrar":   {args: append(node[:5:5], "--plugin-registration-dir=")},
		"no mode":                  {faults: []string{"--mode"}},
		"no key":                   {args: []string{"--mode=controller", "--api-key-file=/none"}, faults: []string{"there is no API key"}},
		"a controller's faults at once": {
			args: []string{
				"--mode=controller", "--api-key-file=" + key, "--endpoint=tcp://x", "--api-url=x", "--metadata-url=y",
				"--logging-format=xml", "--platform-time-scale=0", "--cluster-id=a/b", "--orphan-age=59m",
				"--api-start-rate=21",
			},
			faults: []string{
				"--logging-format", "--endpoint", "--metadata-url", "--api-url", "--platform-time-scale", "--cluster-id", "--orphan-age", "--api-start-rate",
			},
		},
		"a node's faults at once": {
			args: []string{
				"--mode=node", "--device-dir=/none", "--sysfs-block-dir=" + key, "--state-dir=rel", "--node-id=x",
				"--max-volumes-per-node=17", "--plugin-registration-dir=/none", "--kubelet-registration-path=rel",
				"--kubelet-root=rel",
			},
			faults: []string{
				"--device-dir", "--sysfs-block-dir", "--state-dir", "--node-id", "--max-volumes-per-node",
				"--plugin-registration-dir", "--kubelet-registration-path", "--kubelet-root",
			},
		},
		"a node's limit is never 0":              {args: append(node[:6:6], "--max-volumes-per-node=0"), faults: []string{"--max-volumes-per-node"}},
		"a kubelet's directory that is none":     {args: append(node[:6:6], "--kubelet-root=/none"), faults: []string{"--kubelet-root"}},
		"the whole machine is no such directory": {args: append(node[:6:6], "--kubelet-root=/tmp/.."), faults: []string{"--kubelet-root"}},
		"nor is a file":                          {args: append(node[:6:6], "--kubelet-root="+key), faults: []string{"--kubelet-root"}},
		"metrics for those who have a token":     {args: []string{"--mode=controller", "--api-key-file=" + key, "--metrics-endpoint=:9813", "--metrics-token-file=" + token}},
		"metrics for everybody":                  {args: []string{"--mode=controller", "--api-key-file=" + key, "--metrics-endpoint=:9813"}, faults: []string{"--metrics-endpoint would be open to everybody"}},
		"a token for nothing":                    {args: []string{"--mode=controller", "--api-key-file=" + key, "--metrics-token-file=" + token}, faults: []string{"--metrics-token-file is set and --metrics-endpoint"}},
		// Monitoring is no condition for storage: while the token can't be used nobody gets metrics, as TestScrape has it.
		"a token that can be guessed": {args: []string{"--mode=controller", "--api-key-file=" + key, "--metrics-endpoint=:9813", "--metrics-token-file=" + key}},
		"a token that is not there":   {args: []string{"--mode=controller", "--api-key-file=" + key, "--metrics-endpoint=:9813", "--metrics-token-file=/none"}},
		// What the mode does not use is not judged.
		"before the end":              {args: []string{"--mode=pre-stop"}, env: map[string]string{"NODE_NAME": "worker-1"}},
		"before the end of nothing":   {args: []string{"--mode=pre-stop", "--pre-stop-timeout=0s"}, faults: []string{"--node-name", "--pre-stop-timeout"}},
		"a controller has no devices": {args: []string{"--mode=controller", "--api-key-file=" + key, "--device-dir=/none", "--node-id=x"}},
		"a node has no key":           {args: append(node[:6:6], "--api-key-file=/none", "--api-url=x")},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 && strings.Contains(strings.Join(c.args, " "), "--mode=node") {
				t.Skip("needs root: a node plugin refuses to run without it")
			}
			cfg, err := Read(c.args, func(name string) string { return c.env[name] })
			if err != nil {
				t.Fatal(err)
			}
			err = cfg.Validate()
			if (err != nil) != (c.faults != nil) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				return
			}
			if lines := strings.Split(err.Error(), "\n"); len(lines) != len(c.faults) {
				t.Errorf("%d faults, want %d: %v", len(lines), len(c.faults), err)
			}
			for _, f := range c.faults {
				if !strings.Contains(err.Error(), f) {
					t.Errorf("%q does not say %q", err, f)
				}
			}
		})
	}
}

func TestReadRefusesWhatIsNoFlag(t *testing.T) {
	for _, args := range [][]string{{"--unknown"}, {"--max-volumes-per-node=x"}, {"controller"}} {
		if _, err := Read(args, noEnv); err == nil {
			t.Errorf("%v was read", args)
		}
	}
}

func TestAPIURLFromTheEnvironment(t *testing.T) {
	env := func(name string) string { return map[string]string{"API_URL": "http://127.0.0.1:1"}[name] }
	cfg, err := Read(nil, env)
	if err != nil || cfg.APIURL != "http://127.0.0.1:1" {
		t.Errorf("got %q, %v", cfg.APIURL, err)
	}
	cfg, err = Read([]string{"--api-url=http://127.0.0.1:2"}, env)
	if err != nil || cfg.APIURL != "http://127.0.0.1:2" {
		t.Errorf("the flag gives %q, %v", cfg.APIURL, err)
	}
}
