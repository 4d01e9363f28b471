/** Small parquet files for tests. */
import { openAsBlob, writeFileSync } from 'node:fs';
import { type DataType, Field, Schema, Table, tableToIPC, vectorFromArray } from 'apache-arrow';
import {
  Compression,
  ParquetFile,
  Table as WasmTable,
  WriterPropertiesBuilder,
  writeParquet,
} from 'parquet-wasm';

export type Codec = 'UNCOMPRESSED' | 'SNAPPY' | 'GZIP' | 'BROTLI' | 'ZSTD' | 'LZ4_RAW';

/** Writes columns, each with its type and its values, in row groups of a size. */
export function writeParquetFile(
  path: string,
  columns: Readonly<Record<string, readonly [DataType, readonly unknown[]]>>,
  { codec = 'ZSTD', rowGroup = 1024 }: { codec?: Codec; rowGroup?: number } = {},
): void {
  const vectors = Object.fromEntries(
    Object.entries(columns).map(([name, [type, values]]) => [name, vectorFromArray(values, type)]),
  );
  const fields = Object.entries(columns).map(([name, [type]]) => new Field(name, type, true));
  const table = new Table(new Schema(fields), vectors);
  const properties = new WriterPropertiesBuilder()
    .setCompression(Compression[codec])
    .setMaxRowGroupSize(rowGroup)
    .build();
  writeFileSync(path, writeParquet(WasmTable.fromIPCStream(tableToIPC(table, 'stream')), properties));
}

/** Where each row group of a file with one column begins, in bytes: one after the other, behind the magic number. */
export async function groupOffsets(path: string): Promise<number[]> {
  const metadata = (await ParquetFile.fromFile(await openAsBlob(path))).metadata();
  let offset = 4;
  return Array.from({ length: metadata.numRowGroups() }, (_, i) => {
    const start = offset;
    offset += Number(metadata.rowGroup(i).column(0).compressedSize());
    return start;
  });
}
