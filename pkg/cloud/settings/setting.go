package settings

import (
	"slices"
	"strings"
)

// Kind is the type of a setting's value.
type Kind int

// The kinds of values.
const (
	// Switch is true or false, in any spelling that strconv.ParseBool knows.
	Switch Kind = iota + 1
	// Choice is one of the setting's Values, in any case.
	Choice
	// Number is an integer within the setting's bounds.
	Number
	// PortList is a list of port numbers separated by commas.
	PortList
	// PortMap is a list of port=protocol separated by commas.
	PortMap
	// SourceList is a list of source,port separated by semicolons.
	SourceList
	// ObjectName is the name of an object in the namespace of the Service.
	ObjectName
	// HostName is a DNS name in lower case.
	HostName
	// CookieName is a name that an HTTP cookie can have.
	CookieName
	// URLPath begins with a slash.
	URLPath
	// PortReference is the name or the number of a port.
	PortReference
	// UUID is the ID of an object in the account.
	UUID
	// VPCReference is a switch, or the ID of a VPC, which is on.
	VPCReference
	// LabelSelector chooses objects by their labels.
	LabelSelector
	// RegionList is a list of regions separated by commas, each with a VPC if need be.
	RegionList
	// Text is any text but an empty one.
	Text
)

// Protection is what a setting keeps safe. A new load balancer is not made without it.
type Protection string

// What settings protect.
const (
	Nothing    Protection = ""
	Access     Protection = "who may connect"
	Encryption Protection = "encryption"
)

// Support says what the controller does about a setting.
type Support int

// The levels of support.
const (
	// Supported settings are set by users and acted upon.
	Supported Support = iota
	// OnNamespace settings are set on a Namespace by administrators, and have no effect on a Service.
	OnNamespace
	// Obsolete settings ask for nothing.
	Obsolete
)

// Setting is one row of the table of annotations.
type Setting struct {
	Key     Key
	Kind    Kind
	Support Support
	// Values are what a Choice can be, in the spelling of the documentation.
	Values []string
	// Aliases are other accepted spellings of Values.
	Aliases map[string]string
	// Lowest and Highest are the bounds of a Number.
	Lowest, Highest int
	// Odd is set if a Number must be odd.
	Odd bool
	// Zero is set if the official controller sends the platform's default in place of the number 0.
	Zero bool
	// Default is the value of an unset annotation, "" if there is none.
	Default string
	// DefaultText describes the default where it is not a constant.
	DefaultText string
	// Format describes the allowed values where the kind, the bounds and the list do not.
	Format string
	// Lenient is set if the official controller reads a malformed value as the default. Such a value is read the same
	// way and reported by a warning, so that what works there works here.
	Lenient bool
	// Protects is what the setting keeps safe.
	Protects Protection
	// NoClusterDefault is set if the setting makes sense for a single Service only.
	NoClusterDefault bool
	// Since is the release that introduced the setting.
	Since string
	// Doc says what the setting does, in one sentence of the reference page.
	Doc string

	// asks reports whether the value, which may be malformed, asks for the protection. Unset means that none does.
	asks func(value string) bool
}

// Name is the key without the common prefix.
func (s *Setting) Name() string { return strings.TrimPrefix(string(s.Key), Prefix) }

// AsksForProtection reports whether the value, which may be malformed, asks for what the setting protects.
func (s *Setting) AsksForProtection(value string) bool {
	if s.Protects == Nothing || s.asks == nil {
		return false
	}
	meant := s.suggest(value)
	return s.asks(value) || meant != "" && s.asks(meant)
}

// Complaint says what is wrong with a value that cannot be used, in the words of the controller's Events. It is "" where that
// depends on the Service.
func (s *Setting) Complaint() string {
	if s.Lenient {
		return "is not one of " + s.allowed()
	}
	return s.Problem()
}

// All returns the table in the order of the documentation.
func All() []Setting { return slices.Clone(table) }

// Lookup returns the row of a key.
func Lookup(key Key) (Setting, bool) {
	i := slices.IndexFunc(table, func(s Setting) bool { return s.Key == key })
	if i < 0 {
		return Setting{}, false
	}
	return table[i], true
}

// The ways in which a value can ask for protection.

func unlessEmpty(value string) bool { return strings.TrimSpace(value) != "" }

func unlessOff(value string) bool { return !isOff(value) }

// ifOff is for settings that open something unless they are off.
func ifOff(value string) bool { return strings.TrimSpace(value) != "" && isOff(value) }

func ifTLS(value string) bool {
	value = strings.ToLower(value)
	return slices.ContainsFunc([]string{"https", "tls", "ssl"}, func(word string) bool { return strings.Contains(value, word) })
}

// isOff reports whether a value says no, in whatever words. An empty one does too: templates leave it behind.
func isOff(value string) bool {
	return slices.Contains(offWords, strings.ToLower(strings.TrimSpace(value)))
}

var offWords = []string{"", "0", "f", "false", "n", "no", "off", "none", "null", "never", "disable", "disabled"}

// OffWords returns the values in lower case by which users say no.
func OffWords() []string { return slices.Clone(offWords) }

// isOn reports whether a value says yes, in whatever words.
func isOn(value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "1", "t", "true", "y", "yes", "on", "enable", "enabled", "always":
		return true
	}
	return false
}
