package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// KubeProxyPort is where kube-proxy answers on every node whether it works.
const KubeProxyPort = 10256

// Defaults are an administrator's values for settings that a Service does not state. The zero value has none. They
// apply where they can: one that does not fit a Service, such as http2 without an https port, is left out there.
type Defaults struct{ values map[Key]string }

// ParseDefaults checks an administrator's values. Keys may leave out the common prefix. Unlike a Service's values they
// have to be spelled as documented, since whoever writes them reads the error. All faults are in the error.
func ParseDefaults(values map[string]string) (Defaults, error) {
	d := Defaults{values: make(map[Key]string, len(values))}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		key := Key(name)
		if !strings.HasPrefix(name, Prefix) {
			key = Key(Prefix + name)
		}
		canonical, err := checkDefault(key, values[name])
		switch _, twice := d.values[key]; {
		case err != nil:
			faults = append(faults, fmt.Errorf("default: %w", err))
		case twice:
			faults = append(faults, fmt.Errorf("default: annotation %s is given twice, with and without its prefix", key))
		default:
			d.values[key] = canonical
		}
	}
	if err := errors.Join(faults...); err != nil {
		return Defaults{}, err
	}
	return d, nil
}

func checkDefault(key Key, value string) (string, error) {
	s, ok := Lookup(key)
	switch {
	case !ok:
		problem := "is unknown"
		if meant := nearestSetting(strings.TrimPrefix(string(key), Prefix)); meant != nil {
			problem += ": did you mean " + meant.Name() + "?"
		}
		return "", fmt.Errorf("annotation %s %s", key, problem)
	case s.Support != Supported:
		return "", fmt.Errorf("annotation %s can have no default: it is not supported or not set by users", key)
	case s.NoClusterDefault:
		return "", fmt.Errorf("annotation %s can have no default: it is about a single Service", key)
	case key == HealthCheckPort && strings.TrimSpace(value) != strconv.Itoa(KubeProxyPort):
		return "", &ValueError{Key: key, Value: value, Problem: fmt.Sprintf("must be %d (kube-proxy), the only port that every Service's nodes have", KubeProxyPort)}
	}
	canonical, err := s.Check(value)
	if err == nil && canonical == "" {
		err = &ValueError{Key: key, Value: value, Problem: "must not be empty"}
	}
	return canonical, err
}

func (d Defaults) value(key Key) string { return d.values[key] }

func (d Defaults) without(keys []Key) Defaults {
	left := maps.Clone(d.values)
	for _, key := range keys {
		delete(left, key)
	}
	return Defaults{values: left}
}
