package stripeevent

import "bytes"

// The functions of this file walk over bytes that json.Valid has accepted. They find where values begin and end, and check
// nothing.

// eachMember calls each with the quoted name and the value of every member of a JSON object, in order.
func eachMember(object []byte, each func(quoted, value []byte)) {
	for i := 1; ; {
		i = skipSpace(object, i)
		switch object[i] {
		case '}':
			return
		case ',':
			i++
			continue
		}
		nameEnd := skipString(object, i)
		begin := skipSpace(object, skipSpace(object, nameEnd)+1) // +1: the colon
		end := skipValue(object, begin)
		each(object[i:nameEnd], object[begin:end])
		i = end
	}
}

// eachElement calls each with every element of a JSON array, in order.
func eachElement(array []byte, each func(value []byte)) {
	for i := 1; ; {
		i = skipSpace(array, i)
		switch array[i] {
		case ']':
			return
		case ',':
			i++
			continue
		}
		end := skipValue(array, i)
		each(array[i:end])
		i = end
	}
}

// skipValue returns the end of the value that begins at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
	default:
		for i < len(b) && !isSpace(b[i]) && b[i] != ',' && b[i] != ']' && b[i] != '}' {
			i++
		}
		return i
	}
	for depth := 0; ; i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// skipString returns the end of the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

func skipSpace(b []byte, i int) int {
	for isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func trimSpace(b []byte) []byte { return bytes.Trim(b, " \n\r\t") }
