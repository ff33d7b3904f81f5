package configs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var variable = regexp.MustCompile(`\$\$\{|\$\{([^}:]*)(:[^}]*)?\}?`)

// expand replaces ${NAME} and ${NAME:default} by the environment's values. "$${" stands for a literal "${".
func expand(text string) (string, error) {
	var errs []error
	expanded := variable.ReplaceAllStringFunc(text, func(found string) string {
		if found == "$${" {
			return "${"
		}
		groups := variable.FindStringSubmatch(found)
		name, fallback := groups[1], groups[2]
		switch value, set := os.LookupEnv(name); {
		case !strings.HasSuffix(found, "}"):
			errs = append(errs, fmt.Errorf("%q has no closing brace; write ${NAME}, or $${ for a literal ${", found))
		case !environmentName.MatchString(name):
			errs = append(errs, fmt.Errorf("%q is not the name of an environment variable; write ${NAME} or ${NAME:default}", name))
		case value != "" || set && fallback != "":
			return value
		case fallback != "":
			return fallback[1:]
		case set: // a token or password that is empty by mistake would let everybody in
			errs = append(errs, fmt.Errorf("environment variable %s is empty; set it, or write ${%[1]s:} where it may be", name))
		default:
			errs = append(errs, fmt.Errorf("environment variable %s is not set; set it, or give a default: ${%[1]s:default}", name))
		}
		return ""
	})
	return expanded, errors.Join(errs...)
}

var environmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

const day = 24 * time.Hour

// parseDuration reads what time.ParseDuration reads, and days before it: "3d", "1d12h".
func parseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a duration; write a number with its unit, such as 500ms, 2s, 5m, 72h or 3d", text)
	if _, err := strconv.ParseFloat(text, 64); err == nil && text != "0" {
		return 0, fmt.Errorf("%q has no unit; write %[2]sms, %[2]ss, %[2]sm or %[2]sh", text, strings.TrimLeft(text, "+-"))
	}
	days, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || text == "" {
		return 0, wrong
	}
	var d time.Duration
	if rest != "" {
		if d, err = time.ParseDuration(rest); err != nil || (hasDays && d < 0) {
			return 0, wrong
		}
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative; write a duration from 0 up", text)
	}
	const longest = math.MaxInt64 / day
	if time.Duration(n) >= longest || d > math.MaxInt64-time.Duration(n)*day {
		return 0, fmt.Errorf("%q is too long; the longest is %dd", text, longest-1)
	}
	return time.Duration(n)*day + d, nil
}

var units = map[string]int64{
	"": 1, "B": 1,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// parseSize reads a number of bytes: "4096", "16KiB", "1 MB".
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "BKMGTikb ")
	unit, known := units[strings.TrimSpace(text[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 63)
	if !known || err != nil {
		return 0, fmt.Errorf("%q is not a size; write whole bytes, or a whole number with its unit, such as 16KiB, 1MB or 1GiB", text)
	}
	if int64(n) > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is too large; the largest is %dTiB", text, int64(math.MaxInt64>>40))
	}
	return int64(n) * unit, nil
}

// CheckAddress says what is wrong with an address to listen on, HOST:PORT.
func CheckAddress(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not an address; write HOST:PORT, such as 127.0.0.1:9883 or [::1]:9883", text)
	}
	return nil
}

// readSecret returns the first line of a file.
func readSecret(path string) (string, error) {
	if err := checkFile(path); err != nil {
		return "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fileError(err)
	}
	defer file.Close()
	line, err := bufio.NewReader(io.LimitReader(file, 64<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fileError(err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("the first line of %s is empty; put the secret there", path)
	}
	return line, nil
}

// checkFile says why the file can't be read. Only a regular file is opened: reading another could wait for ever.
func checkFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fileError(err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file; name a file that this user may read", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return fileError(err)
	}
	return file.Close()
}

// fileError names the whole path that was looked at.
func fileError(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		if full, absErr := filepath.Abs(at.Path); absErr == nil {
			err = &fs.PathError{Op: at.Op, Path: full, Err: at.Err}
		}
	}
	return fmt.Errorf("%w; name a file that this user may read (a relative path is taken from the folder of the configuration file)", err)
}

// resolve makes the path independent of the working directory: a relative one is taken from dir.
func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
