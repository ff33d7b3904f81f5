package twister

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// makeFolder makes the folder of the state.
func makeFolder(c Config) error {
	if err := os.MkdirAll(c.folder(), 0o700); err != nil {
		return fmt.Errorf("state of the transport: %w", err)
	}
	return nil
}

// loadState reads what saveState kept in the file. Nothing kept leaves state as it is.
func loadState(path string, state any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, state)
	}
	if err != nil {
		return fmt.Errorf("state of the transport: %s: %w", path, err)
	}
	return nil
}

// saveState replaces the file durably, whole or not at all.
func saveState(path string, state any) error {
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
