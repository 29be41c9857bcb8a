"""Split a folder of classes or a list of images into train, val and test.

    python scripts/split_data.py source=PATH output_dir=NEW [KEY=VALUE ...]

Every class is spread over the parts by their shares. Files are neither copied
nor moved unless `mode` says so, and nothing is overwritten.

Examples:
    python scripts/split_data.py source=flowers output_dir=lists
    python scripts/split_data.py source=flowers output_dir=links mode=link
    python scripts/split_data.py source=a.csv output_dir=b group_column=c
"""

from hookline.commands.app import run_app

if __name__ == "__main__":
    run_app("hookline.commands.split_data:split_data", "split_data", __doc__)
