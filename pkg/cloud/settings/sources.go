package settings

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Source is who may connect to a port.
type Source struct {
	// Range is the addresses that may; it is zero if Cloudflare is set.
	Range netip.Prefix
	// Cloudflare admits all addresses of that network.
	Cloudflare bool
	Port       int
}

const sourceListProblem = "must be a list of source,port separated by semicolons, each source a range such as 203.0.113.0/24, or cloudflare"

// cloudflare stands for all addresses of that network.
const cloudflare = "cloudflare"

// String returns the source as the annotation spells it.
func (s Source) String() string {
	if s.Cloudflare {
		return cloudflare + "," + strconv.Itoa(s.Port)
	}
	return s.Range.String() + "," + strconv.Itoa(s.Port)
}

// ParseSources reads a list such as "203.0.113.0/24,80;cloudflare,443". Empty entries are skipped.
func ParseSources(text string) ([]Source, error) {
	var sources []Source
	var faulty []string
	for entry := range strings.SplitSeq(text, ";") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		source, ok := parseSource(entry)
		if !ok {
			faulty = append(faulty, fmt.Sprintf("%q is not", entry))
			continue
		}
		sources = append(sources, source)
	}
	if len(faulty) > 0 {
		return nil, fmt.Errorf("%s; %s", sourceListProblem, strings.Join(faulty, ", "))
	}
	return sources, nil
}

func parseSource(entry string) (Source, bool) {
	text, portText, _ := strings.Cut(entry, ",")
	text = strings.ToLower(strings.TrimSpace(text))
	port, ok := parsePort(portText)
	if !ok {
		return Source{}, false
	}
	if text == cloudflare {
		return Source{Cloudflare: true, Port: port}, true
	}
	prefix, err := netip.ParsePrefix(text)
	// A v4 range that is written as a v6 one would be sent as v6, and match nobody.
	return Source{Range: prefix.Masked(), Port: port}, err == nil && !prefix.Addr().Is4In6()
}

func joinSources(sources []Source) string {
	texts := make([]string, 0, len(sources))
	for _, source := range sources {
		texts = append(texts, source.String())
	}
	return strings.Join(texts, ";")
}
