package settings

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// PortProtocol is what is spoken on one port.
type PortProtocol struct {
	Port int
	// Frontend is what clients speak, Backend what the load balancer speaks to the pods.
	Frontend, Backend string
}

// String returns the entry as the annotation spells it.
func (p PortProtocol) String() string {
	text := strconv.Itoa(p.Port) + "=" + p.Frontend
	if p.Backend != p.Frontend {
		text += "/" + p.Backend
	}
	return text
}

// portSpellings are what can stand after a port.
var portSpellings = []string{"tcp", "http", "http/http", "http/https", "https", "https/http", "https/https"}

// PortSpellings returns what can stand after a port, in lower case: what clients speak, and what the pods do if that differs.
func PortSpellings() []string { return slices.Clone(portSpellings) }

const portMapProblem = "must be a list of port=protocol separated by commas, such as 443=https,8080=http; each protocol is tcp, http or https, " +
	"and https/http or http/https if the pods speak another one"

// ParsePortProtocols reads a list such as "443=https/http,8443=tcp". Empty entries are skipped.
func ParsePortProtocols(text string) ([]PortProtocol, error) {
	var entries []PortProtocol
	for entry := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		portText, protocols, _ := strings.Cut(entry, "=")
		protocols = strings.ToLower(strings.TrimSpace(protocols))
		port, ok := parsePort(portText)
		if !ok || !slices.Contains(portSpellings, protocols) {
			return nil, errors.New(portMapProblem)
		}
		frontend, backend, differs := strings.Cut(protocols, "/")
		if !differs {
			backend = frontend
		}
		entries = append(entries, PortProtocol{Port: port, Frontend: frontend, Backend: backend})
	}
	return entries, nil
}

func joinPortProtocols(entries []PortProtocol) string {
	texts := make([]string, 0, len(entries))
	for _, entry := range entries {
		texts = append(texts, entry.String())
	}
	return strings.Join(texts, ",")
}
