package metadata

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// walk finds the node of a decoded JSON document at a path. A path that ends with a slash (or is empty) asks for an
// index, any other for a leaf.
func walk(node any, path string) (string, bool) {
	name, rest, more := strings.Cut(path, "/")
	if name == "" {
		return index(node)
	}
	child, ok := childOf(node, name)
	if !ok {
		return "", false
	}
	if more {
		return walk(child, rest)
	}
	return leaf(child)
}

func childOf(node any, name string) (any, bool) {
	switch node := node.(type) {
	case map[string]any:
		child, ok := node[name]
		return child, ok
	case []any:
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= len(node) {
			return nil, false
		}
		return node[i], true
	}
	return nil, false
}

// index lists the names below a node, with a slash after those that have an index of their own.
func index(node any) (string, bool) {
	var names []string
	switch node := node.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(node)) {
			names = append(names, entry(name, node[name]))
		}
	case []any:
		for i, child := range node {
			names = append(names, entry(strconv.Itoa(i), child))
		}
	default:
		return "", false
	}
	return strings.Join(names, "\n"), true
}

func entry(name string, node any) string {
	if _, ok := leaf(node); ok {
		return name
	}
	return name + "/"
}

// leaf is the text of a value. A list of plain values is a leaf with a line for each.
func leaf(node any) (string, bool) {
	switch node := node.(type) {
	case map[string]any:
		return "", false
	case []any:
		lines := make([]string, 0, len(node))
		for _, child := range node {
			switch child.(type) {
			case map[string]any, []any:
				return "", false
			}
			lines = append(lines, fmt.Sprint(child))
		}
		return strings.Join(lines, "\n"), true
	case nil:
		return "", true
	}
	return fmt.Sprint(node), true
}
