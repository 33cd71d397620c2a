// Package manifest reads files of Kubernetes objects and remembers in which line each part of them is written.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// Object is one object of a file.
type Object struct {
	// APIVersion, Kind, Namespace and Name are as they are written; any can be "".
	APIVersion, Kind, Namespace, Name string
	// File is the file's name, Line where the object begins.
	File string
	Line int
	// JSON is the whole object, as kubectl would send it.
	JSON []byte

	node   *yaml.Node
	before int // the lines of the file before the document
}

// String returns "Kind namespace/name".
func (o Object) String() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return strings.TrimSpace(o.Kind + " " + name)
}

// ParseError is a document that cannot be read.
type ParseError struct {
	File string
	Line int
	Err  error
}

// Error says where and why.
func (e *ParseError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the cause.
func (e *ParseError) Unwrap() error { return e.Err }

// Parse returns the objects of a file, those in Lists one by one. What cannot be read is in the error, which joins a
// *ParseError for each such document; the other documents are returned all the same.
func Parse(file string, content []byte) ([]Object, error) {
	var objects []Object
	var faults []error
	for _, d := range split(content) {
		found, err := d.objects(file)
		if err != nil {
			faults = append(faults, &ParseError{File: file, Line: d.before + 1, Err: err})
		}
		objects = append(objects, found...)
	}
	return objects, errors.Join(faults...)
}

// document is one of a file's.
type document struct {
	text   []byte
	before int
}

// split cuts a file at its separators, lines that begin with "---", as kubectl does.
func split(content []byte) []document {
	var all []document
	current := document{}
	line := 0
	for text := range bytes.Lines(content) {
		if rest, separates := bytes.CutPrefix(text, []byte("---")); separates && (len(bytes.TrimSpace(rest)) == 0 || bytes.HasPrefix(bytes.TrimSpace(rest), []byte("#"))) {
			all = append(all, current)
			line++
			current = document{before: line}
			continue
		}
		line++
		current.text = append(current.text, text...)
	}
	return append(all, current)
}

// objects returns the document's objects, none for one that is empty. Two readers see the same text: the one that kubectl
// uses decides what it means (to it an unquoted "on" is a boolean), the other knows the lines.
func (d document) objects(file string) ([]Object, error) {
	text, err := sigsyaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return nil, err //nolint:wrapcheck // Parse says where
	}
	var root yaml.Node
	if err := yaml.Unmarshal(d.text, &root); err != nil {
		return nil, err //nolint:wrapcheck // Parse says where
	}
	if len(root.Content) == 0 || string(text) == "null" {
		return nil, nil
	}
	return d.object(file, root.Content[0], text)
}

func (d document) object(file string, node *yaml.Node, text []byte) ([]Object, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"metadata"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("not a Kubernetes object: %w", err)
	}
	if head.Kind == "" {
		return nil, errors.New("not a Kubernetes object: it has no kind")
	}
	if items := child(node, "items"); strings.HasSuffix(head.Kind, "List") && len(head.Items) > 0 && items != nil && len(items.Content) == len(head.Items) {
		var all []Object
		var faults []error
		for i, item := range head.Items {
			found, err := d.object(file, items.Content[i], item)
			if err != nil {
				faults = append(faults, fmt.Errorf("item %d: %w", i+1, err))
			}
			all = append(all, found...)
		}
		return all, errors.Join(faults...)
	}
	return []Object{{
		APIVersion: head.APIVersion, Kind: head.Kind, Namespace: head.Metadata.Namespace, Name: head.Metadata.Name,
		File: file, Line: d.before + node.Line, JSON: text, node: node, before: d.before,
	}}, nil
}

// LineOf returns the line in which a part of the object is written, such as "metadata", "annotations", "<key>". Where the
// object lacks it, it is that of the nearest part above it. Indices of lists are numbers.
func (o Object) LineOf(path ...string) int {
	line, node := o.Line, o.node
	for _, step := range path {
		if node == nil {
			break
		}
		if node.Kind == yaml.SequenceNode {
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(node.Content) {
				break
			}
			node = node.Content[i]
			line = o.before + node.Line
			continue
		}
		key, value := entry(node, step)
		if key == nil {
			break
		}
		line, node = o.before+key.Line, value
	}
	return line
}

func child(node *yaml.Node, name string) *yaml.Node {
	_, value := entry(node, name)
	return value
}

// entry returns a key of a mapping and its value, also of one that stands elsewhere under an anchor.
func entry(node *yaml.Node, name string) (key, value *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}
