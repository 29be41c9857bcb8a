"""Split a folder of classes or a list of images into training, validation and test.

    python scripts/split_data.py source=PATH output_dir=NEW_FOLDER [KEY=VALUE ...]

Every class is spread over the parts by their shares. Files are neither copied
nor moved unless `mode` says so, and nothing is overwritten.

Examples:
    python scripts/split_data.py source=flowers output_dir=flowers_lists
    python scripts/split_data.py source=flowers output_dir=flowers_split val=0.1 test=0.1 mode=link
    python scripts/split_data.py source=scans.csv output_dir=scans_lists group_column=patient
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.split_data:split_data", "split_data", __doc__)
