package compare

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// npyHeader is what the header of an npy file says.
type npyHeader struct {
	dtype   string
	shape   []int
	fortran bool
}

const (
	npyMagic     = "\x93NUMPY"
	maxNPYHeader = 1 << 16
	maxNPYDims   = 32 // as many as NumPy allowed when the format was fixed
)

var errNPY = errors.New("not a valid npy file")

// The header is a Python dictionary literal with exactly these three keys, in
// the order NumPy writes them. NumPy sorts keys, so no other order occurs.
var npyDict = regexp.MustCompile(
	`^\{'descr': '([<>|=])([a-z])(\d{1,2})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\),? *\}[ ]*\n?$`)

// readNPY reads the header (format versions 1 to 3, NumPy's NEP 1) and returns
// it with its length in bytes.
func readNPY(r *bufio.Reader) (npyHeader, int64, error) {
	var fixed [8]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil || string(fixed[:6]) != npyMagic {
		return npyHeader{}, 0, fmt.Errorf("%w: its first bytes are not those of one", errNPY)
	}
	lengthSize := 2
	switch fixed[6] {
	case 1:
	case 2, 3:
		lengthSize = 4
	default:
		return npyHeader{}, 0, fmt.Errorf("%w: format version %d", errNPY, fixed[6])
	}
	length := make([]byte, lengthSize)
	if _, err := io.ReadFull(r, length); err != nil {
		return npyHeader{}, 0, fmt.Errorf("%w: it ends in the header", errNPY)
	}
	n := unsigned(length)
	if n > maxNPYHeader {
		return npyHeader{}, 0, fmt.Errorf("%w: a header of %d bytes", errNPY, n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return npyHeader{}, 0, fmt.Errorf("%w: it ends in the header", errNPY)
	}
	h, err := parseNPY(string(text))
	return h, int64(len(fixed)+lengthSize) + int64(n), err
}

func parseNPY(text string) (npyHeader, error) {
	m := npyDict.FindStringSubmatch(text)
	if m == nil {
		return npyHeader{}, fmt.Errorf("%w: header %.120q", errNPY, text)
	}
	dtype, err := npyType(m[1], m[2], m[3])
	if err != nil {
		return npyHeader{}, err
	}
	h := npyHeader{dtype: dtype, shape: []int{}, fortran: m[4] == "True"}
	for field := range strings.SplitSeq(m[5], ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		d, err := strconv.Atoi(field)
		if err != nil || len(h.shape) == maxNPYDims {
			return npyHeader{}, fmt.Errorf("%w: shape (%s)", errNPY, m[5])
		}
		h.shape = append(h.shape, d)
	}
	return h, nil
}

// npyType names the dtype of a descr such as "<f4".
func npyType(order, letter, size string) (string, error) {
	if order == ">" && size != "1" {
		return "", fmt.Errorf("%w: big-endian elements are not supported", errNPY)
	}
	bits := map[string]string{"1": "8", "2": "16", "4": "32", "8": "64"}[size]
	name := map[string]string{"f": "float", "i": "int", "u": "uint"}[letter]
	if letter == "b" && size == "1" {
		return "bool", nil
	}
	if bits == "" || name == "" || letter == "f" && size == "1" {
		return "", fmt.Errorf("%w: dtype %s%s%s is not supported", errNPY, order, letter, size)
	}
	return name + bits, nil
}
