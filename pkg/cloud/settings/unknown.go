package settings

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Finding is an annotation that is not acted upon although it seems to ask for something.
type Finding struct {
	Key Key
	// Meant is the annotation that the key is probably a misspelling of, "" if there is none.
	Meant Key
	// Cloud is the platform whose annotation it is, "" if it is meant for this one or unclear.
	Cloud string
	// Protects is set if it seems to ask for restricted access or for encryption. A new load balancer without it would
	// be more open than its owner asked for.
	Protects bool
	// Problem says in words what is wrong with the annotation.
	Problem string
}

// Inspect returns the annotations that nothing is done for, in alphabetical order: misspelled and unknown ones, and those of
// other clouds that ask for a load balancer that is not public. A setting of another cloud that is off asks for nothing and is
// not among them.
func Inspect(annotations map[string]string) []Finding {
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		if finding := inspect(Key(name), annotations[name]); finding != nil {
			findings = append(findings, *finding)
		}
	}
	return findings
}

// Unhandled returns the keys below the prefix that nothing is done for, in alphabetical order.
func Unhandled(annotations map[string]string) []Key {
	var keys []Key
	for _, finding := range Inspect(annotations) {
		if strings.HasPrefix(string(finding.Key), Prefix) {
			keys = append(keys, finding.Key)
		}
	}
	return keys
}

// Protects reports whether the key, known or not, is about who may reach the load balancer or about encryption.
func (k Key) Protects() bool {
	if s, ok := Lookup(k); ok {
		return s.Protects != Nothing
	}
	name := strings.TrimPrefix(string(k), Prefix)
	if meant := nearestSetting(name); meant != nil {
		return meant.Protects != Nothing
	}
	return slices.ContainsFunc(protectingWords, func(w word) bool { return w.in(name) })
}

func inspect(key Key, value string) *Finding {
	if _, ok := Lookup(key); ok || key == sourceRanges {
		return nil
	}
	if f, ok := foreignSettings[strings.ToLower(string(key))]; ok {
		if f.asks == nil || !f.asks(value) {
			return nil
		}
		return &Finding{Key: key, Cloud: f.cloud, Protects: true, Problem: "belongs to " + f.cloud + " and has no effect here"}
	}
	if name, ours := suffix(key); ours {
		return inspectOurs(key, name, value)
	}
	return inspectOthers(key, value)
}

// inspectOurs looks at a key that is meant for this controller but is not in the table.
func inspectOurs(key Key, name, value string) *Finding {
	finding := &Finding{Key: key, Problem: "is unknown", Protects: asksByWords(name, value, protectingWords)}
	if meant := nearestSetting(name); meant != nil {
		finding.Meant = meant.Key
		finding.Problem = "is unknown: did you mean " + string(meant.Key) + "?"
		finding.Protects = finding.Protects || meant.AsksForProtection(value)
	}
	return finding
}

// inspectOthers looks at a key of another controller, or of nobody. Only what is about access to a load balancer
// matters; everything else is none of this controller's business.
func inspectOthers(key Key, value string) *Finding {
	lower := strings.ToLower(string(key))
	if !mentionsLoadBalancer.MatchString(lower) {
		return nil
	}
	name := lower[strings.LastIndexByte(lower, '/')+1:]
	if !asksByWords(name, value, accessWords) {
		return nil
	}
	return &Finding{Key: key, Protects: true, Problem: "has no effect here"}
}

const sourceRanges Key = "service.beta.kubernetes.io/load-balancer-source-ranges"

var (
	mentionsLoadBalancer = regexp.MustCompile(`load[-_.]?balancer`)
	// kindOfAccess matches names such as scheme and load-balancer-type, whose values say who may connect.
	kindOfAccess = regexp.MustCompile(`(^|[-_./])(type|scheme|network|mode|visibility|scope|facing|exposure|access)$`)
	notPublic    = is("internal", "private", "intranet")
	// ourKey matches what users make of our prefix, by mistake or from memory.
	ourKey = regexp.MustCompile(`^(?:[^/]*kubernetes\.io/vultr[-_.]?|[^/]*vultr[^/]*/?(?:load[-_.]?balancer|lb)[-_./]|[^/]*/vultr[-_.](?:load[-_.]?balancer|lb)[-_./])(.*)$`)
)

// suffix returns what follows our prefix, and whether the key is meant for this controller.
func suffix(key Key) (string, bool) {
	match := ourKey.FindStringSubmatch(strings.ToLower(string(key)))
	if match == nil {
		return "", false
	}
	name := strings.TrimLeft(match[1], "-_./")
	for _, prefix := range []string{"loadbalancer", "load-balancer", "lb"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && (rest == "" || strings.ContainsRune("-_./", rune(rest[0]))) {
			return strings.TrimLeft(rest, "-_./"), true
		}
	}
	// The middle of the prefix may be misspelled too.
	if first, rest, ok := strings.Cut(name, "-"); ok && len(first) > 6 && distance(first[:min(len(first), maxText)], "loadbalancer") <= 3 {
		return rest, true
	}
	return name, true
}

// nearestSetting returns the setting that a name is probably a misspelling of, nil if there is none.
func nearestSetting(name string) *Setting {
	names := make([]string, 0, len(table))
	for i := range table {
		names = append(names, table[i].Name())
	}
	found := nearest(letters(name), names, letters)
	if found == "" {
		return nil
	}
	s := mustLookup(Key(Prefix + found))
	return &s
}

// word is a part of a key that is about access or encryption.
type word struct {
	text string
	// anywhere is set if it counts in the middle of other words too: internalonly.
	anywhere bool
	// asks reports whether the value asks for it.
	asks func(value string) bool
}

func (w word) in(name string) bool {
	if w.anywhere {
		return strings.Contains(letters(name), w.text)
	}
	return slices.Contains(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("-_./", r) }), w.text)
}

// accessWords mean restricted access in the key of any cloud.
var accessWords = []word{
	{"internal", true, unlessOff},
	{"private", true, unlessOff},
	{"intranet", true, unlessOff},
	{"allow", true, unlessEmpty},
	{"deny", true, unlessEmpty},
	{"denied", true, unlessEmpty},
	{"acl", false, unlessEmpty},
	{"whitelist", true, unlessEmpty},
	{"blacklist", true, unlessEmpty},
	{"blocklist", true, unlessEmpty},
	{"sourcerange", true, unlessEmpty},
	{"firewall", true, unlessEmpty},
}

// protectingWords mean restricted access or encryption in a key that is meant for this controller.
var protectingWords = slices.Concat(accessWords, []word{
	{"source", true, unlessEmpty},
	{"cidr", true, unlessEmpty},
	{"iprange", true, unlessEmpty},
	{"trusted", true, unlessEmpty},
	{"permit", true, unlessEmpty},
	{"block", false, unlessEmpty},
	{"blocked", false, unlessEmpty},
	{"acls", false, unlessEmpty},
	{"restrict", true, unlessOff},
	{"secur", true, unlessOff},
	{"protected", true, unlessOff},
	{"access", true, unlessOff},
	{"vpc", false, unlessOff},
	{"subnet", true, unlessOff},
	{"fw", false, unlessEmpty},
	{"waf", false, unlessOff},
	{"auth", false, unlessOff},
	{"ssl", false, unlessOff},
	{"tls", false, unlessOff},
	{"mtls", false, unlessOff},
	{"cert", true, unlessOff},
	{"encrypt", true, unlessOff},
	{"public", true, ifOff},
	{"external", true, ifOff},
	{"internet", true, ifOff},
	{"expose", true, ifOff},
})

// asksByWords reports whether a name has one of the words and the value asks for it, or the value itself says that the
// load balancer must not be public.
func asksByWords(name, value string, words []word) bool {
	if kindOfAccess.MatchString(name) && notPublic(value) {
		return true
	}
	return slices.ContainsFunc(words, func(w word) bool { return w.in(name) && w.asks(value) })
}
