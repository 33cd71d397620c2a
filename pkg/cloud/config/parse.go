package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Value is what a file says about a setting; of Pairs each is a Value.
type Value struct {
	Setting
	// Text is the value as the flag takes it.
	Text string
	// Line is where it stands.
	Line int
}

// Fault is one thing that is wrong with a file.
type Fault struct {
	// Line is where it is, 0 if it is about the file as a whole.
	Line int
	// Path is what it is about, "" if that is no setting.
	Path string
	// Problem says what is wrong or what is allowed.
	Problem string
}

// In says in which place of a file the fault is, and what is wrong.
func (f Fault) In(file string) string {
	text := f.Problem
	if f.Path != "" {
		text = f.Path + " " + f.Problem
	}
	if f.Line > 0 {
		file = fmt.Sprintf("%s, line %d", file, f.Line)
	}
	return file + ": " + text
}

// Parse returns what a file says, and everything in it that cannot be read or is unknown. A document of another version is
// not looked at any further.
func Parse(data []byte) ([]Value, []Fault) {
	root, faults := document(data)
	if len(faults) == 0 {
		faults = header(root)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	p := &parser{}
	p.mapping(root, "")
	return p.values, p.faults
}

// document returns the one document of a file.
func document(data []byte) (*yaml.Node, []Fault) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return nil, []Fault{{Problem: "the file is empty; it must begin with " + beginning}}
	} else if err != nil {
		return nil, []Fault{{Problem: "the file is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, []Fault{{Problem: "the file has more than one document, or something after it that is not YAML"}}
	}
	if len(first.Content) != 1 || first.Content[0].Kind != yaml.MappingNode {
		return nil, []Fault{{Line: first.Line, Problem: "the file must be a mapping that begins with " + beginning}}
	}
	return first.Content[0], nil
}

const beginning = "apiVersion: " + APIVersion + " and kind: " + Kind

// header checks that the document is one of this version.
func header(root *yaml.Node) []Fault {
	var faults []Fault
	for _, want := range [][2]string{{"apiVersion", APIVersion}, {"kind", Kind}} {
		node := child(root, want[0])
		switch {
		case node == nil:
			faults = append(faults, Fault{Path: want[0], Problem: "is missing: it must be " + want[1]})
		case node.Kind != yaml.ScalarNode || node.Value != want[1]:
			faults = append(faults, Fault{Line: node.Line, Path: want[0], Problem: fmt.Sprintf("must be %s, not %q", want[1], node.Value)})
		}
	}
	return faults
}

func child(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// parser collects what a document says and what is wrong with it.
type parser struct {
	values []Value
	faults []Fault
}

func (p *parser) fault(at *yaml.Node, path, format string, args ...any) {
	p.faults = append(p.faults, Fault{Line: at.Line, Path: path, Problem: fmt.Sprintf(format, args...)})
}

// mapping reads the settings of a section, "" for the document itself.
func (p *parser) mapping(node *yaml.Node, path string) {
	p.each(node, path, "settings", func(key, value *yaml.Node, below string) {
		setting, known := lookup(below)
		switch {
		case below == "apiVersion" || below == "kind":
			// The header was read before.
		case known && setting.Type == Pairs:
			p.pairs(value, setting)
		case known:
			p.scalar(value, setting)
		case isSection(below):
			p.mapping(value, below)
		default:
			problem := "is unknown"
			if meant := suggest(below); meant != "" {
				problem += ": did you mean " + meant + "?"
			}
			p.fault(key, below, "%s", problem)
		}
	})
}

// pairs reads names with values.
func (p *parser) pairs(node *yaml.Node, setting Setting) {
	p.each(node, setting.Path, "names with values", func(key, value *yaml.Node, below string) {
		if text, ok := p.text(value, below); ok {
			p.values = append(p.values, Value{setting, key.Value + "=" + text, value.Line})
		}
	})
}

// each calls read for every entry of a mapping, once for each name. A mapping without entries says nothing.
func (p *parser) each(node *yaml.Node, path, of string, read func(key, value *yaml.Node, below string)) {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" {
		return
	}
	if node.Kind != yaml.MappingNode {
		p.fault(node, path, "must be a mapping of %s", of)
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		below := strings.TrimPrefix(path+"."+key.Value, ".")
		if first, twice := seen[key.Value]; twice {
			p.fault(key, below, "is given twice, the first time in line %d", first)
			continue
		}
		seen[key.Value] = key.Line
		read(key, value, below)
	}
}

// text returns a value that is neither a list nor a mapping nor missing.
func (p *parser) text(node *yaml.Node, path string) (string, bool) {
	switch {
	case node.Kind == yaml.AliasNode:
		p.fault(node, path, "must be written out: aliases are not supported")
	case node.Kind != yaml.ScalarNode:
		p.fault(node, path, "must be one value")
	case node.ShortTag() == "!!null":
		p.fault(node, path, "has no value: give it one, or remove it")
	default:
		return node.Value, true
	}
	return "", false
}

func isNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

func isDuration(text string) bool {
	_, err := time.ParseDuration(text)
	return err == nil
}

// scalar reads one value of the setting's type. Which values of it make sense is judged where those of flags are.
func (p *parser) scalar(node *yaml.Node, setting Setting) {
	path := setting.Path
	text, ok := p.text(node, path)
	if !ok {
		return
	}
	tag := node.ShortTag()
	switch {
	case setting.Type == Switch && tag != "!!bool":
		p.fault(node, path, "must be true or false, without quotes")
	case setting.Type == Number && (tag != "!!int" && tag != "!!float" || !isNumber(text)):
		p.fault(node, path, "must be a number, without quotes")
	case setting.Type == Duration && !isDuration(text):
		p.fault(node, path, "must be a duration such as 5m or 1h30m, or 0")
	case setting.Type == Text && tag != "!!str":
		p.fault(node, path, "must be a text: put %s into quotes", text)
	default:
		p.values = append(p.values, Value{setting, text, node.Line})
	}
}
