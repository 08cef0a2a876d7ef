package stripesim

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxBody       = 256 << 10 // bytes
	maxParamDepth = 6
	maxParams     = 1000
)

// node is a form parameter in Stripe's bracket syntax: a[b][0]=x is the tree a → b → 0. It has
// values or children, never both.
type node struct {
	path     string // as the client wrote it, for error messages
	values   []string
	children map[string]*node
}

// formParams reads the form of a POST, or the query of another method. encoded is the same for the same parameters, because
// clients encode maps in any order.
func formParams(w http.ResponseWriter, r *http.Request) (params *node, encoded string, err *Error) {
	text := r.URL.RawQuery
	if r.Method == http.MethodPost {
		body, err := bodyOf(w, r, "application/x-www-form-urlencoded")
		if err != nil {
			return nil, "", err
		}
		text = string(body)
	}
	if params, err = parseParams(text); err != nil {
		return nil, "", err
	}
	form, _ := url.ParseQuery(text) // it was parsed once without an error
	return params, form.Encode(), nil
}

// bodyOf reads a body of a content type.
func bodyOf(w http.ResponseWriter, r *http.Request, kind string) ([]byte, *Error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, errTooLarge()
	}
	if len(body) > 0 && !strings.HasPrefix(r.Header.Get("Content-Type"), kind) {
		return nil, errBad("", "", "Invalid request: the body must be "+kind+".")
	}
	return body, nil
}

// jsonParams reads the JSON of a POST, or the query of another method. The tree has the shape of a form's, so that the same
// functions check it.
func jsonParams(w http.ResponseWriter, r *http.Request) (params *node, encoded string, err *Error) {
	if r.Method != http.MethodPost {
		return formParams(w, r)
	}
	body, err := bodyOf(w, r, "application/json")
	if err != nil {
		return nil, "", err
	}
	root := &node{}
	if len(body) == 0 {
		return root, "", nil
	}
	var tree map[string]any
	if json.Unmarshal(body, &tree) != nil || tree == nil {
		return nil, "", errBad("", "", "Invalid request: the body must be a JSON object.")
	}
	if err := root.putJSON(nil, tree); err != nil {
		return nil, "", err
	}
	canonical, _ := json.Marshal(tree) // a map that json made: keys are sorted
	return root, string(canonical), nil
}

// putJSON adds a value. The parameters of /v2 that the simulator knows have strings as their leaves.
func (n *node) putJSON(path []string, value any) *Error {
	if len(path) > maxParamDepth {
		return errUnknown(strings.Join(path, "."))
	}
	switch value := value.(type) {
	case nil:
	case string:
		n.put(path, []string{value})
	case []any:
		for i, item := range value {
			if err := n.putJSON(append(slices.Clone(path), strconv.Itoa(i)), item); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, item := range value {
			if err := n.putJSON(append(slices.Clone(path), name), item); err != nil {
				return err
			}
		}
	default:
		return errParam(strings.Join(path, "."), "Invalid "+strings.Join(path, ".")+": must be a string, an array or an object.")
	}
	return nil
}

// parseParams decodes a form-encoded body or query string.
func parseParams(encoded string) (*node, *Error) {
	form, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, errBad("", "", "The request is not valid application/x-www-form-urlencoded data.")
	}
	if len(form) > maxParams {
		return nil, errBad("", "", "The request has too many parameters.")
	}
	root := &node{}
	// Sort, so that the first error does not depend on the order of a map.
	for _, key := range slices.Sorted(maps.Keys(form)) {
		path, ok := splitKey(key)
		if !ok {
			return nil, errUnknown(key)
		}
		if !root.put(path, form[key]) {
			return nil, errBad("", key, "Invalid request: "+key+" is given both as a value and as a hash.")
		}
	}
	return root, nil
}

// splitKey turns a[b][c] into a, b, c.
func splitKey(key string) ([]string, bool) {
	name, rest, nested := strings.Cut(key, "[")
	path := []string{name}
	if !nested {
		return path, name != ""
	}
	rest, ok := strings.CutSuffix(rest, "]")
	if !ok || name == "" {
		return nil, false
	}
	path = append(path, strings.Split(rest, "][")...)
	return path, len(path) <= maxParamDepth && !slices.ContainsFunc(path, func(p string) bool { return strings.ContainsAny(p, "[]") })
}

func (n *node) put(path []string, values []string) bool {
	for _, name := range path {
		if n.values != nil {
			return false
		}
		if n.children == nil {
			n.children = make(map[string]*node)
		}
		child := n.children[name]
		if child == nil {
			child = &node{path: name}
			if n.path != "" {
				child.path = n.path + "[" + name + "]"
			}
			n.children[name] = child
		}
		n = child
	}
	if n.children != nil {
		return false
	}
	n.values = append(n.values, values...)
	return true
}

// only refuses children with other names: Stripe answers unknown parameters with an error.
func (n *node) only(names ...string) *Error {
	unknown := ""
	for name, child := range n.children {
		// Take the smallest name, so that the answer does not depend on the order of a map.
		if !slices.Contains(names, name) && (unknown == "" || child.path < unknown) {
			unknown = child.path
		}
	}
	if unknown != "" {
		return errUnknown(unknown)
	}
	return nil
}

// text returns a string parameter, and whether it is set.
func (n *node) text(name string, maxLen int) (string, bool, *Error) {
	child := n.children[name]
	switch {
	case child == nil:
		return "", false, nil
	case child.values == nil:
		return "", false, errParam(child.path, "Invalid string: "+child.path+" must be a string.")
	}
	v := child.values[len(child.values)-1]
	if utf8.RuneCountInString(v) > maxLen {
		return "", false, errParam(child.path, "Invalid string: "+child.path+" must be at most "+strconv.Itoa(maxLen)+" characters.")
	}
	return v, true, nil
}

func (n *node) oneOf(name string, allowed ...string) (string, bool, *Error) {
	v, ok, err := n.text(name, 100)
	if err == nil && ok && !slices.Contains(allowed, v) {
		err = errParam(n.children[name].path, "Invalid "+n.children[name].path+": must be one of "+strings.Join(allowed, ", "))
	}
	return v, ok, err
}

func (n *node) boolean(name string) (*bool, *Error) {
	v, ok, err := n.text(name, 5)
	if err != nil || !ok || v == "" {
		return nil, err
	}
	if v != "true" && v != "false" {
		return nil, errParam(n.children[name].path, "Invalid boolean: "+n.children[name].path+" must be true or false.")
	}
	b := v == "true"
	return &b, nil
}

func (n *node) integer(name string) (int64, bool, *Error) {
	v, ok, err := n.text(name, 20)
	if err != nil || !ok {
		return 0, false, err
	}
	i, perr := strconv.ParseInt(v, 10, 64)
	if perr != nil {
		return 0, false, errBad("parameter_invalid_integer", n.children[name].path, "Invalid integer: "+v)
	}
	return i, true, nil
}

// hash returns a nested parameter or nil; an empty string, Stripe's "unset", is an empty hash.
func (n *node) hash(name string) (*node, *Error) {
	child := n.children[name]
	if child == nil || child.children != nil {
		return child, nil
	}
	if slices.Equal(child.values, []string{""}) {
		return &node{path: child.path}, nil
	}
	return nil, errParam(child.path, "Invalid object: "+child.path+" must be a hash.")
}

// list returns the values of a[]=x&a[]=y or a[0]=x&a[1]=y.
func (n *node) list(name string) ([]string, *Error) {
	child, err := n.hash(name)
	if err != nil || child == nil {
		return nil, err
	}
	if plain := child.children[""]; plain != nil && len(child.children) == 1 && plain.values != nil {
		return plain.values, nil
	}
	items := make(map[int][]string, len(child.children))
	for key, item := range child.children {
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || item.values == nil || items[i] != nil {
			return nil, errParam(child.path, "Invalid array: "+child.path+" must be an array of strings.")
		}
		items[i] = item.values
	}
	out := make([]string, 0, len(items))
	for _, i := range slices.Sorted(maps.Keys(items)) {
		out = append(out, items[i]...)
	}
	return out, nil
}
