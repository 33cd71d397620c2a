package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
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

// Problem says in words what a value must be, the same ones for whoever finds out that it is not. It is "" where that depends
// on the Service.
func (s *Setting) Problem() string {
	if s.Kind == Choice {
		return "must be one of " + strings.Join(s.Values, ", ")
	}
	if s.Kind == Number {
		odd := "a"
		if s.Odd {
			odd = "an odd"
		}
		return fmt.Sprintf("must be %s number from %d to %d", odd, s.Lowest, s.Highest)
	}
	if s.Kind == ObjectName {
		return "must be the " + s.Format + " in the namespace of the Service"
	}
	return problems[s.Kind]
}

// problems are those that are the same for each setting of a kind.
var problems = map[Kind]string{
	Switch:        "must be true or false",
	PortList:      "must be a list of port numbers separated by commas",
	PortMap:       portMapProblem,
	SourceList:    sourceListProblem,
	HostName:      "must be a host name in lower case, such as web.example.com",
	CookieName:    "is not a name that a cookie can have",
	URLPath:       "must begin with /",
	UUID:          "must be the UUID of a load balancer",
	VPCReference:  "must be true, false or the UUID of a VPC",
	LabelSelector: "must be a label selector such as pool=web,!spot",
	RegionList:    regionListProblem,
	Text:          "must not be empty",
}

func (s *Setting) check(text string) (string, error) {
	switch s.Kind {
	case Switch:
		return s.checkSwitch(text)
	case VPCReference:
		if vultr.IsID(text) {
			return strings.ToLower(text), nil
		}
		return s.checkSwitch(text)
	case LabelSelector:
		selector, err := labels.Parse(text)
		if err != nil {
			return "", errors.New(s.Problem())
		}
		return selector.String(), nil
	case Choice:
		return s.checkChoice(text)
	case Number:
		return s.checkNumber(text)
	case PortList:
		ports, ok := parsePorts(text)
		if !ok {
			return "", errors.New(s.Problem())
		}
		return joinPorts(ports), nil
	case PortMap:
		entries, err := ParsePortProtocols(text)
		return joinPortProtocols(entries), err
	case RegionList:
		regions, err := ParseRegions(text)
		return joinRegions(regions), err
	case SourceList:
		sources, err := ParseSources(text)
		return joinSources(sources), err
	default:
		return text, s.checkText(text)
	}
}

func (s *Setting) checkSwitch(text string) (string, error) {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return "", errors.New(s.Problem())
	}
	return strconv.FormatBool(on), nil
}

func (s *Setting) checkChoice(text string) (string, error) {
	text = strings.ToLower(text)
	if canonical, ok := s.Aliases[text]; ok {
		return canonical, nil
	}
	if !slices.Contains(s.Values, text) {
		return "", errors.New(s.Problem())
	}
	return text, nil
}

func (s *Setting) checkNumber(text string) (string, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < s.Lowest || n > s.Highest || s.Odd && n%2 == 0 {
		return "", errors.New(s.Problem())
	}
	return strconv.Itoa(n), nil
}

// checkText checks what is used as it is written.
func (s *Setting) checkText(text string) error {
	good := true
	switch s.Kind {
	case ObjectName, HostName:
		good = len(validation.IsDNS1123Subdomain(text)) == 0
	case CookieName:
		good = !strings.ContainsAny(text, " \t\r\n,;=\"\\")
	case URLPath:
		good = strings.HasPrefix(text, "/")
	case UUID:
		good = vultr.IsID(text)
	case Text:
		good = text != ""
	default: // PortReference depends on the Service
	}
	if !good {
		return errors.New(s.Problem())
	}
	return nil
}

func parsePorts(text string) (ports []int, ok bool) {
	for field := range strings.SplitSeq(text, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		port, ok := parsePort(field)
		if !ok {
			return nil, false
		}
		ports = append(ports, port)
	}
	return ports, true
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
