package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

// ValueError is one value that cannot be used.
type ValueError struct {
	Key   Key
	Value string
	// Problem says what is wrong, or what is allowed: "must be one of a, b".
	Problem string
}

// Error says which annotation has which value, and what is allowed.
func (f *ValueError) Error() string {
	return fmt.Sprintf("annotation %s: %q %s", f.Key, f.Value, f.Problem)
}

// Check returns the value in the spelling of the documentation, or an error that says what is allowed. An empty value
// is the same as an unset one, except for a label. Leniency is not applied: this is what users should write.
func (s *Setting) Check(value string) (string, error) {
	text := strings.TrimSpace(value)
	if text == "" && s.Kind != Text {
		return "", nil
	}
	canonical, err := s.check(text)
	if err != nil {
		return "", &ValueError{Key: s.Key, Value: value, Problem: err.Error()}
	}
	return canonical, nil
}

func (s *Setting) check(text string) (string, error) {
	switch s.Kind {
	case Switch:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return "", errors.New("must be true or false")
		}
		return strconv.FormatBool(b), nil
	case Choice:
		return s.checkChoice(text)
	case Number:
		return s.checkNumber(text)
	case PortList:
		ports, err := parsePorts(text)
		return joinPorts(ports), err
	case PortMap:
		entries, err := ParsePortProtocols(text)
		return joinPortProtocols(entries), err
	case SourceList:
		sources, err := ParseSources(text)
		return joinSources(sources), err
	default:
		return text, s.checkText(text)
	}
}

func (s *Setting) checkChoice(text string) (string, error) {
	text = strings.ToLower(text)
	if canonical, ok := s.Aliases[text]; ok {
		return canonical, nil
	}
	if !slices.Contains(s.Values, text) {
		return "", errors.New("must be one of " + strings.Join(s.Values, ", "))
	}
	return text, nil
}

func (s *Setting) checkNumber(text string) (string, error) {
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < s.Lowest || n > s.Highest:
		return "", fmt.Errorf("must be a number from %d to %d", s.Lowest, s.Highest)
	case s.Odd && n%2 == 0:
		return "", errors.New("must be an odd number")
	}
	return strconv.Itoa(n), nil
}

// checkText checks what is used as it is written.
func (s *Setting) checkText(text string) error {
	switch s.Kind {
	case ObjectName:
		if len(validation.IsDNS1123Subdomain(text)) > 0 {
			return fmt.Errorf("must be the %s in the namespace of the Service", s.Format)
		}
	case HostName:
		if len(validation.IsDNS1123Subdomain(text)) > 0 {
			return errors.New("must be a host name in lower case, such as web.example.com")
		}
	case CookieName:
		if strings.ContainsAny(text, " \t\r\n,;=\"\\") {
			return errors.New("is not a name that a cookie can have")
		}
	case URLPath:
		if !strings.HasPrefix(text, "/") {
			return errors.New("must begin with /")
		}
	case UUID:
		if !vultr.IsID(text) {
			return errors.New("must be the UUID of a load balancer")
		}
	case Text:
		if text == "" {
			return errors.New("must not be empty")
		}
	default: // PortReference depends on the Service
	}
	return nil
}

func parsePorts(text string) ([]int, error) {
	var ports []int
	for field := range strings.SplitSeq(text, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		port, ok := parsePort(field)
		if !ok {
			return nil, errors.New("must be a list of port numbers separated by commas")
		}
		ports = append(ports, port)
	}
	return ports, nil
}

func parsePort(text string) (int, bool) {
	port, err := strconv.Atoi(strings.TrimSpace(text))
	return port, err == nil && port >= 1 && port <= 65535
}

func joinPorts(ports []int) string {
	texts := make([]string, 0, len(ports))
	for _, port := range ports {
		texts = append(texts, strconv.Itoa(port))
	}
	return strings.Join(texts, ",")
}
